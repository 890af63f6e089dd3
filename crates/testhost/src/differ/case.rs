//! Cases as they are written down.
//!
//! ```text
//! == container.create.memory quick
//! POST /containers/create?name=a {"Image":"busybox","HostConfig":{"Memory":6291456}}
//! GET /containers/a/json
//! == run.exit
//! $ docker run --name a busybox sh -c 'exit 3'
//! ```
//!
//! A request's path gets the version in front unless it names one. Its body is JSON, `!TYPE TEXT` of another content type,
//! or `<FILE` that an earlier line of the shell made. `{ID}` stands for the last id that was answered. `UPGRADE` before the
//! method asks for the raw connection. `UNTIL a exited` waits for a container's state; `EVENTS` asks for what the engine
//! told since the case began. A backslash at the end of a line goes on with the next. A `#` starts a comment.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

#[derive(Debug, Clone)]
pub struct Case {
    pub name: String,
    /// Part of the short form.
    pub quick: bool,
    pub steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub enum Step {
    Request(Request),
    /// A line of the shell in a folder of the case's own; `docker` is the client that is played.
    Shell(String),
    /// Waits for a container's `State.Status`.
    Until {
        container: String,
        state: String,
    },
    /// What the engine told since the case began.
    Events,
}

#[derive(Debug, Clone)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub upgrade: bool,
    pub content_type: Option<String>,
    pub body: Body,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    None,
    Text(String),
    /// A file in the case's folder.
    File(String),
}

impl Case {
    /// Cases of requests may have lines of the shell too, for what a request needs.
    pub fn has_requests(&self) -> bool {
        self.steps.iter().any(|step| matches!(step, Step::Request(_) | Step::Events))
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Request(request) => {
                write!(f, "{} {}", request.method, request.path)?;
                match &request.body {
                    Body::None => Ok(()),
                    Body::Text(text) => write!(f, " {text}"),
                    Body::File(file) => write!(f, " <{file}"),
                }
            }
            Self::Shell(line) => write!(f, "$ {line}"),
            Self::Until { container, state } => write!(f, "UNTIL {container} {state}"),
            Self::Events => f.write_str("EVENTS"),
        }
    }
}

/// Every case of a folder's files, by file name.
pub fn read_all(folder: &Path) -> Result<Vec<Case>> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .with_context(|| folder.display().to_string())?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    files.retain(|file| file.extension().is_some_and(|extension| extension == "txt"));
    files.sort();
    let mut cases: Vec<Case> = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file)?;
        for case in parse(&text).with_context(|| file.display().to_string())? {
            ensure!(
                cases.iter().all(|known| known.name != case.name),
                "{}: a second case {}",
                file.display(),
                case.name
            );
            cases.push(case);
        }
    }
    Ok(cases)
}

fn parse(text: &str) -> Result<Vec<Case>> {
    let mut cases: Vec<Case> = Vec::new();
    let joined = text.replace("\\\n", "");
    for line in joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(title) = line.strip_prefix("== ") {
            let (name, mark) = title.split_once(' ').unwrap_or((title, ""));
            ensure!(matches!(mark, "" | "quick"), "{line}: an unknown mark");
            cases.push(Case { name: name.to_owned(), quick: mark == "quick", steps: Vec::new() });
            continue;
        }
        let step = parse_step(line).with_context(|| line.to_owned())?;
        cases.last_mut().context("a step before the first case")?.steps.push(step);
    }
    Ok(cases)
}

fn parse_step(line: &str) -> Result<Step> {
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    match word {
        "$" => Ok(Step::Shell(rest.to_owned())),
        "EVENTS" => Ok(Step::Events),
        "UNTIL" => {
            let (container, state) = rest.split_once(' ').context("UNTIL CONTAINER STATE")?;
            Ok(Step::Until { container: container.to_owned(), state: state.to_owned() })
        }
        "UPGRADE" => {
            let (method, rest) = rest.split_once(' ').context("UPGRADE METHOD PATH")?;
            Ok(Step::Request(Request { upgrade: true, ..request(method, rest) }))
        }
        method if method.bytes().all(|byte| byte.is_ascii_uppercase()) => Ok(Step::Request(request(method, rest))),
        _ => bail!("no such step"),
    }
}

fn request(method: &str, rest: &str) -> Request {
    let (path, body) = rest.split_once(' ').unwrap_or((rest, ""));
    let (content_type, body) = match body.strip_prefix('!') {
        Some(typed) => typed.split_once(' ').unwrap_or((typed, "")),
        None => ("application/json", body),
    };
    let content_type = Some(content_type.to_owned()).filter(|kind| kind != "-");
    let body = match body.strip_prefix('<') {
        Some(file) => Body::File(file.to_owned()),
        None if body.is_empty() => Body::None,
        None => Body::Text(body.to_owned()),
    };
    let content_type = content_type.filter(|_| body != Body::None);
    Request { method: method.to_owned(), path: path.to_owned(), upgrade: false, content_type, body }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// More than three hundred of each, and not fewer than the page says.
    #[test]
    fn there_are_as_many_cases_as_their_page_says() {
        let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        let cases = read_all(&crate_folder.join("tests/differ/cases")).unwrap();
        let count = |of_requests: bool| {
            let steps = cases.iter().filter(|case| case.has_requests() == of_requests).flat_map(|case| &case.steps);
            steps.filter(|step| step.is_counted()).count()
        };
        let page = fs::read_to_string(crate_folder.join("../../docs/conformance-docker.md")).unwrap();
        let said = |what: &str| {
            let (before, _) = page.split_once(what).unwrap();
            before.rsplit(' ').next().and_then(|number| number.parse::<usize>().ok()).unwrap()
        };
        assert!(count(true) >= said(" requests in") && said(" requests in") > 300);
        assert!(count(false) >= said(" command lines in") && said(" command lines in") > 300);
    }

    #[test]
    fn a_case_is_a_name_and_its_steps() {
        let text = "# of creation\n== a.b quick\nPOST /x?name=a {\"A\": 1}\nUNTIL a exited\n$ docker ps \\\n -a\n== c\n\
                    UPGRADE POST /exec/{ID}/start !text/plain x\nPUT /y <f.tar\nEVENTS\n";
        let cases = parse(text).unwrap();
        assert_eq!((cases[0].name.as_str(), cases[0].quick, cases[1].quick), ("a.b", true, false));
        let steps: Vec<String> = cases.iter().flat_map(|case| &case.steps).map(ToString::to_string).collect();
        let expected = [
            "POST /x?name=a {\"A\": 1}",
            "UNTIL a exited",
            "$ docker ps  -a",
            "POST /exec/{ID}/start x",
            "PUT /y <f.tar",
            "EVENTS",
        ];
        assert_eq!(steps, expected);
        let Step::Request(upgrade) = &cases[1].steps[0] else { panic!() };
        assert!(upgrade.upgrade && upgrade.content_type.as_deref() == Some("text/plain"));
        assert!(parse("GET /x").is_err() && parse("== a\nwhat is this").is_err());
    }
}
