//! Dockerfiles that a seed decides: every instruction that Docker 20.10 has, in its many forms, some of them wrong.

use crate::random::Random;

/// Stages of one file.
const MOST_STAGES: u64 = 3;
/// Instructions of one stage.
const MOST_INSTRUCTIONS: u64 = 9;
/// One line in so many is nonsense.
const NONSENSE: u64 = 60;

const NAMES: [&str; 6] = ["A", "B_2", "lower", "PATH", "HOME", "EMPTY"];
const PLACES: [&str; 8] = ["/x", "/x/", "/deep/er/", "rel", "rel/", ".", "/usr/made", "$A/y/"];
const SOURCES: [&str; 9] = ["one", "two.txt", "folder", "folder/", "*.txt", "./one", "link", "fol*/deep", "o?e"];

pub struct Generator {
    random: Random,
    escape: char,
    stages: Vec<String>,
}

impl Generator {
    pub fn new(random: Random) -> Self {
        Self { random, escape: '\\', stages: Vec::new() }
    }

    pub fn dockerfile(mut self) -> String {
        let mut text = String::new();
        if self.random.below(6) == 0 {
            self.escape = '`';
            text.push_str("# escape=`\n");
        }
        if self.random.below(4) == 0 {
            text.push_str("# a comment\n\n");
        }
        let global = self.random.below(3) == 0;
        if global {
            text.push_str("ARG NAME=busybox\n");
        }
        for stage in 0..=self.random.below(MOST_STAGES) {
            let base = match self.random.below(5) {
                0 if global => "${NAME}".to_owned(),
                1 if global => "${NAME:-nothing}".to_owned(),
                2 if !self.stages.is_empty() => self.stage(),
                _ => "busybox".to_owned(),
            };
            let from = self.word_of_case("FROM");
            let name = format!("stage{stage}");
            text.push_str(&format!("{from} {base} {} {name}\n", self.random.one_of(&["AS", "as"])));
            for _ in 0..=self.random.below(MOST_INSTRUCTIONS) {
                let line = self.instruction();
                text.push_str(&line);
                text.push('\n');
            }
            self.stages.push(name);
        }
        // A stage that nothing needs would be built by Docker's builder alone.
        let others = self.stages.len() - 1;
        for stage in &self.stages[..others] {
            text.push_str(&format!("COPY --from={stage} /bin/busybox /needed/{stage}\n"));
        }
        text
    }

    fn stage(&mut self) -> String {
        let at = self.random.below(self.stages.len() as u64);
        self.stages[usize::try_from(at).unwrap_or_default()].clone()
    }

    fn word_of_case(&mut self, word: &str) -> String {
        match self.random.below(5) {
            0 => word.to_lowercase(),
            _ => word.to_owned(),
        }
    }

    fn instruction(&mut self) -> String {
        if self.random.below(NONSENSE) == 0 {
            let nonsense = [
                "EXPOSE x",
                "HEALTHCHECK CMD",
                "ENV",
                "FORM busybox",
                "COPY one",
                "COPY --form=a one /x",
                "ARG",
                "STOPSIGNAL nine",
            ];
            return self.random.one_of(&nonsense).to_owned();
        }
        let (word, rest) = match self.random.below(26) {
            0..=3 => ("ENV", self.variables()),
            4..=5 => ("LABEL", self.labels()),
            6..=7 => ("ARG", self.argument()),
            8..=9 => ("RUN", self.run()),
            10..=12 => ("COPY", self.copy()),
            13..=14 => ("ADD", self.add()),
            15..=16 => ("WORKDIR", self.work_dir()),
            17 => ("CMD", self.command()),
            18 => ("ENTRYPOINT", self.command()),
            19 => {
                ("EXPOSE", self.one(&["80", "80/udp 443", "8000-8003/tcp", "$EMPTY 5", "\"99\"", "${A:-7}", "1/TCP"]))
            }
            20 => ("VOLUME", self.one(&["/data", "[\"/d1\", \"/d 2\"]", "/a /b", "/v/$A", "[]", "relative"])),
            21 => ("USER", self.one(&["0", "0:0", "root", "${EMPTY:-root}", "root:root"])),
            22 => (
                "SHELL",
                self.one(&["[\"/bin/sh\", \"-ec\"]", "[\"/bin/sh\", \"-c\"]", "[\"/bin/busybox\", \"sh\", \"-c\"]"]),
            ),
            23 => ("STOPSIGNAL", self.one(&["9", "SIGTERM", "KILL", "${S:-SIGINT}", "SIGRTMIN+3"])),
            24 => ("HEALTHCHECK", self.health()),
            _ => ("ONBUILD", self.trigger()),
        };
        format!("{} {rest}", self.word_of_case(word))
    }

    fn one(&mut self, choices: &[&str]) -> String {
        self.random.one_of(choices).to_owned()
    }

    /// A value as it may stand behind `NAME=`.
    fn value(&mut self) -> String {
        let escape = self.escape;
        let blank = format!("a{escape} b");
        let dollar = format!("{escape}$A");
        let quoted = format!("\"say {escape}\"hi{escape}\" {escape}$A\"");
        let choices = [
            "plain",
            "\"two words\"",
            "'single $A'",
            "\"double $A\"",
            "${A}",
            "$A$B_2",
            "${A:-default}",
            "${EMPTY:+set}",
            "${A:+is $A}",
            "pre${lower}post",
            "\"\"",
            "''",
            "a'b c'd",
            "a=b=c",
            "http://x/y?z#w",
            "ünï",
            "\"${A:-\"nested\"}\"",
            "$",
            "a$",
            "#no",
        ];
        match self.random.below(24) {
            0 => blank,
            1 => dollar,
            2 => quoted,
            _ => self.one(&choices),
        }
    }

    fn separator(&mut self) -> String {
        match self.random.below(6) {
            0 => format!(" {}\n    ", self.escape),
            1 => format!(" {}\n# a comment between\n  ", self.escape),
            2 => "  ".to_owned(),
            _ => " ".to_owned(),
        }
    }

    fn variables(&mut self) -> String {
        if self.random.below(5) == 0 {
            let (name, value) = (self.one(&NAMES[..3]), self.value());
            return format!("{name} {value} and more");
        }
        let mut text = String::new();
        for at in 0..=self.random.below(3) {
            if at > 0 {
                text.push_str(&self.separator());
            }
            // A PATH that leads nowhere would fail every step.
            let name = self.one(&["A", "B_2", "lower", "HOME"]);
            text.push_str(&format!("{name}={}", self.value()));
        }
        text
    }

    fn labels(&mut self) -> String {
        let mut text = String::new();
        for at in 0..=self.random.below(2) {
            if at > 0 {
                text.push_str(&self.separator());
            }
            let name = self.one(&["l", "com.example.key", "\"with blank\"", "k-1", "$A.x"]);
            text.push_str(&format!("{name}={}", self.value()));
        }
        text
    }

    fn argument(&mut self) -> String {
        let name = self.one(&["A", "lower", "S", "NAME"]);
        match self.random.below(3) {
            0 => name,
            _ => format!("{name}={}", self.value()),
        }
    }

    fn run(&mut self) -> String {
        let escape = self.escape;
        match self.random.below(7) {
            0 => "[\"/bin/sh\", \"-c\", \"echo exec > /exec\"]".to_owned(),
            1 => format!("mkdir -p /made && {escape}\n    echo $A > /made/a"),
            2 => format!("echo one > /r1; {escape}\n# comment\n  chmod 600 /r1"),
            3 => "env | grep -v -e HOSTNAME -e SHLVL | sort > /environment".to_owned(),
            4 => "pwd > /where && id -u >> /where".to_owned(),
            5 => "rm -rf /usr/made /x; ln -s /made /to-made".to_owned(),
            _ => "echo \"$B_2\" '$A' \"${lower:-none}\" > /said".to_owned(),
        }
    }

    fn copy(&mut self) -> String {
        let place = self.one(&PLACES);
        match self.random.below(9) {
            0 => format!("[\"a name with blanks\", \"{place}\"]"),
            1 => format!("[\"one\", \"two.txt\", \"{}/\"]", place.trim_end_matches('/')),
            2 => format!("one folder/four.txt {}/", place.trim_end_matches('/')),
            3 => format!("--chown=7:8 {} {place}", self.one(&SOURCES)),
            4 => format!("--chown=root {} {place}", self.one(&SOURCES)),
            5 if !self.stages.is_empty() => {
                let stage = self.stage();
                format!("--from={stage} {} {place}", self.one(&["/bin/busybox", "/etc", "/bin/sh", "/bin/bus*"]))
            }
            6 => format!(". {place}"),
            _ => format!("{} {place}", self.one(&SOURCES)),
        }
    }

    fn add(&mut self) -> String {
        let place = self.one(&PLACES);
        match self.random.below(5) {
            0 => format!("tools.tar {place}"),
            1 => format!("tools.tar.gz {place}"),
            2 => format!("tools.tar one {}/", place.trim_end_matches('/')),
            3 => format!("--chown=5 data.json {place}"),
            _ => format!("{} {place}", self.one(&SOURCES)),
        }
    }

    fn work_dir(&mut self) -> String {
        self.one(&[
            "/w",
            "rel/ative",
            "/w/../v",
            "$A",
            "/with blank",
            "\"/quoted\"",
            "${EMPTY:-/fall}",
            "/",
            "..",
            "./d/",
        ])
    }

    fn command(&mut self) -> String {
        self.one(&[
            "[\"a\", \"b c\"]",
            "[ \"spaced\" , \"out\" ]",
            "[\"broken\", ",
            "['single']",
            "echo $HOME",
            "[]",
            "[\"uni\\u00e9\"]",
            "  trailing  ",
            "exec top -b",
            "[\"a\", 1]",
        ])
    }

    fn health(&mut self) -> String {
        self.one(&[
            "NONE",
            "CMD true",
            "--interval=5s --timeout=3s CMD [\"a\", \"b\"]",
            "--retries=3 --start-period=1m30s CMD curl -f http://x || exit 1",
            "--interval=500ms CMD x",
        ])
    }

    fn trigger(&mut self) -> String {
        let inner = match self.random.below(5) {
            0 => "RUN echo triggered > /triggered".to_owned(),
            1 => format!("ENV T={}", self.value()),
            2 => "COPY one /by-trigger".to_owned(),
            3 => "WORKDIR /t".to_owned(),
            _ => "LABEL t=1 u=2".to_owned(),
        };
        inner
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_makes_one_dockerfile_and_seeds_make_many() {
        let of = |seed| Generator::new(Random::new(seed)).dockerfile();
        assert_eq!(of(5), of(5));
        let many: std::collections::BTreeSet<String> = (0..200).map(of).collect();
        assert!(many.len() > 190);
        for word in [
            "FROM",
            "ENV",
            "LABEL",
            "ARG",
            "RUN",
            "COPY",
            "ADD",
            "WORKDIR",
            "CMD",
            "ENTRYPOINT",
            "EXPOSE",
            "VOLUME",
            "USER",
            "SHELL",
            "STOPSIGNAL",
            "HEALTHCHECK",
            "ONBUILD",
            "# escape=`",
            "--from=stage",
        ] {
            assert!(many.iter().any(|text| text.contains(word)), "{word} is in none");
        }
    }
}
