//! `docker image ls --tree`: each image with the platforms it has.

use engine_client::Request;
use serde::Deserialize;

use super::platform;
use crate::command::Matches;
use crate::container::list::read_filters;
use crate::context::{self, Context};
use crate::failure::Failure;
use crate::terminal;
use crate::text::ellipsis::{columns, ellipsis, short_id};
use crate::text::size::human_size_with_precision;

/// An image of `GET /images/json?manifests=1`, as far as the tree shows it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Image {
    id: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    repo_digests: Option<Vec<String>>,
    #[serde(default)]
    containers: i64,
    #[serde(default)]
    created: i64,
    #[serde(default)]
    size: i64,
    #[serde(default)]
    manifests: Option<Vec<Manifest>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Manifest {
    #[serde(rename = "ID")]
    id: String,
    kind: String,
    #[serde(default)]
    available: bool,
    size: Sizes,
    image_data: Option<ImageData>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Sizes {
    total: i64,
    content: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImageData {
    platform: engine_api::image::Platform,
    containers: Option<Vec<String>>,
}

/// A line's cells behind the first one.
#[derive(Debug)]
struct Details {
    id: String,
    disk_usage: String,
    content_size: String,
    in_use: bool,
}

/// How the text is coloured; nothing off a terminal.
#[derive(Debug, Clone, Copy)]
struct Style {
    is_terminal: bool,
}

const SPACING: &str = "   ";
const DEFAULT_WIDTH: usize = 80;
const MIN_WIDTH: usize = 20;
/// The first column is not made narrower than this; others go first.
const MIN_NAME: usize = 12;
const WARNING: &str = "WARNING: This is an experimental feature. The output may change and shouldn't be depended on.";

/// Prints the tree, newest image first, and answers how many images there are.
pub async fn show(context: &Context, flags: &Matches) -> Result<usize, Failure> {
    let mut filters = read_filters(flags)?;
    if !flags.arg(0).is_empty() {
        filters.add("reference", flags.arg(0));
    }
    let all = flags.is_set("all");
    let request = Request::get("/images/json")
        .with_flag("all", all)
        .with_some("filters", filters.encode().unwrap_or_default())
        .with("manifests", "1");
    let mut images: Vec<Image> = context.client.call(request).await?;
    images.retain(|image| all || !image.is_dangling());
    images.sort_by_key(|image| std::cmp::Reverse(image.created));
    let style = Style { is_terminal: terminal::stdout_is_terminal() };
    let width = terminal::size().map_or(DEFAULT_WIDTH, |size| size.width as usize).max(MIN_WIDTH);
    context::print(&tree(&images, width, style))?;
    Ok(images.len())
}

impl Image {
    fn is_dangling(&self) -> bool {
        let only = |list: &Option<Vec<String>>, none: &str| match list.as_deref().unwrap_or_default() {
            [] => Some(true),
            [one] => (one == none).then_some(false),
            _ => None,
        };
        let (tags, digests) = (only(&self.repo_tags, "<none>:<none>"), only(&self.repo_digests, "<none>@<none>"));
        tags.is_some() && tags == digests
    }

    /// Longest first.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.repo_tags.iter().flatten().map(String::as_str).collect();
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        names
    }

    fn children(&self) -> Vec<(String, bool, Details)> {
        let of = |manifest: &Manifest| {
            let data = manifest.image_data.as_ref().filter(|_| manifest.kind == "image")?;
            let details = Details {
                id: manifest.id.clone(),
                disk_usage: human_size_with_precision(manifest.size.total, 3),
                content_size: human_size_with_precision(manifest.size.content, 3),
                in_use: data.containers.as_ref().is_some_and(|list| !list.is_empty()),
            };
            Some((platform::shown(&data.platform), manifest.available, details))
        };
        self.manifests.iter().flatten().filter_map(of).collect()
    }

    fn details(&self, children: &[(String, bool, Details)]) -> Details {
        let content: i64 = self.manifests.iter().flatten().map(|manifest| manifest.size.content).sum();
        Details {
            id: self.id.clone(),
            disk_usage: human_size_with_precision(self.size, 3),
            content_size: human_size_with_precision(content, 3),
            in_use: self.containers > 0 || children.iter().any(|(_, _, details)| details.in_use),
        }
    }
}

impl Style {
    fn paint(self, codes: &str, text: &str) -> String {
        if !self.is_terminal {
            return text.to_owned();
        }
        let on: String = codes.split(';').map(|code| format!("\x1b[{code}m")).collect();
        format!("{on}{text}\x1b[0m")
    }

    /// Blanks that fill the column up have no colour.
    fn left(self, codes: &str, text: &str, width: usize) -> String {
        let text = fit(text, width);
        format!("{}{}", self.paint(codes, &text), blanks(&text, width))
    }

    fn right(self, codes: &str, text: &str, width: usize) -> String {
        let text = fit(text, width);
        format!("{}{}", blanks(&text, width), self.paint(codes, &text))
    }

    fn chip(self) -> String {
        if self.is_terminal { "\x1b[38;5;0m\x1b[48;5;14m U \x1b[0m".to_owned() } else { "U".to_owned() }
    }

    fn no_chip(self) -> &'static str {
        if self.is_terminal { "   " } else { " " }
    }
}

/// Which columns there is room for, and how wide the first one is.
struct Layout {
    name: usize,
    details: usize,
    with_chip: bool,
}

/// Widths behind the first column: ID, disk usage, content size, extra.
const WIDTHS: [usize; 4] = [12, 10, 12, 5];

fn tree(images: &[Image], width: usize, style: Style) -> String {
    let families: Vec<_> = images.iter().map(|image| (image, image.children())).collect();
    let spaced = families.iter().any(|(_, children)| !children.is_empty());
    let with_chip = families.iter().any(|(_, children)| children.iter().any(|(_, _, details)| details.in_use));
    let (mut left, mut details) = (width, 0);
    for column in WIDTHS {
        let taken = column + SPACING.len();
        if left < taken + MIN_NAME {
            break;
        }
        left -= taken;
        details += 1;
    }
    let names = families.iter().flat_map(|(image, _)| image.names()).map(str::len);
    let platforms = families.iter().flat_map(|(_, children)| children).map(|(name, ..)| name.len() + "└─ ".len());
    let widest = names.chain(platforms).max().unwrap_or(0).max("Image".len());
    let layout = Layout { name: left.min(widest), details, with_chip };
    let mut out = format!("{}\n{}\n\n", style.paint("93", WARNING), legend(width, style));
    out.push_str(&style.left("39;1", "IMAGE", layout.name));
    for (title, width) in ["ID", "DISK USAGE", "CONTENT SIZE", "EXTRA"].into_iter().zip(WIDTHS).take(details) {
        out.push_str(SPACING);
        out.push_str(&style.left("39;1", title, width));
    }
    out.push('\n');
    for (image, children) in &families {
        family(&mut out, image, children, &layout, style, width);
        if spaced || !children.is_empty() {
            out.push('\n');
        }
    }
    out
}

fn legend(width: usize, style: Style) -> String {
    let info = if style.is_terminal {
        "\x1b[1m\x1b[106m\x1b[30mi\x1b[0m\x1b[0m \x1b[96mInfo → \x1b[0m\x1b[0m"
    } else {
        " Info -> "
    };
    let shown = if style.is_terminal { "i Info →   U " } else { " Info ->  U" };
    let text = format!("{info} {} In Use ", style.chip());
    let length = shown.chars().map(columns).sum::<usize>() + " In Use ".len();
    format!("{}{text}", " ".repeat(width.saturating_sub(length)))
}

fn family(
    out: &mut String,
    image: &Image,
    children: &[(String, bool, Details)],
    layout: &Layout,
    style: Style,
    width: usize,
) {
    let names = image.names();
    match names.split_last() {
        None => out.push_str(&style.left("39;2", "<untagged>", layout.name)),
        Some((last, others)) => {
            for name in others {
                out.push_str(&style.paint("34;1", &fit(name, width)));
                out.push('\n');
            }
            out.push_str(&style.left("34;1", last, layout.name));
        }
    }
    cells(out, &image.details(children), layout, style, "39");
    out.push('\n');
    for (at, (platform, available, details)) in children.iter().enumerate() {
        let branch = if at + 1 < children.len() { "├─ " } else { "└─ " };
        let codes = if *available { "39" } else { "39;2" };
        out.push_str(&style.left(codes, &format!("{branch}{platform}"), layout.name));
        cells(out, details, layout, style, codes);
        out.push('\n');
    }
}

fn cells(out: &mut String, details: &Details, layout: &Layout, style: Style, codes: &str) {
    let texts = [
        style.left(codes, short_id(&details.id), WIDTHS[0]),
        style.right(codes, &details.disk_usage, WIDTHS[1]),
        style.right(codes, &details.content_size, WIDTHS[2]),
    ];
    for text in texts.iter().take(layout.details) {
        out.push_str(SPACING);
        out.push_str(text);
    }
    if layout.details > texts.len() {
        out.push_str(SPACING);
        let chip = match (layout.with_chip, details.in_use) {
            (false, _) => String::new(),
            (true, true) => style.chip(),
            (true, false) => style.no_chip().to_owned(),
        };
        let taken = if !layout.with_chip {
            0
        } else if style.is_terminal {
            3
        } else {
            1
        };
        out.push_str(&chip);
        out.push_str(&" ".repeat(WIDTHS[3] - taken));
    }
}

/// Cut where it does not fit.
fn fit(text: &str, width: usize) -> String {
    if taken(text) > width { ellipsis(text, width) } else { text.to_owned() }
}

fn blanks(text: &str, width: usize) -> String {
    " ".repeat(width.saturating_sub(taken(text)))
}

fn taken(text: &str) -> usize {
    text.chars().map(columns).sum()
}
