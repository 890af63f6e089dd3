//! `--format`: tables, JSON lines and templates over rows.

pub mod indent;
pub mod object;

use crate::failure::Failure;
use crate::template::{Mode, Template, Value};
use crate::text::table;

/// A column: the field's name, and its title in a table.
pub type Column = (&'static str, &'static str);
/// A field's name and value.
pub type Field = (&'static str, Value);

/// How rows are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    template: String,
    is_table: bool,
    /// The rows' type as Docker's errors name it.
    row_type: &'static str,
}

impl Format {
    /// From `--format`, with `table` for what it means when nothing else is said. `table` alone is the default.
    pub fn new(asked: &str, default_table: &str, row_type: &'static str) -> Self {
        let (text, is_table) = match asked.trim_matches(' ') {
            "" | "table" => (default_table.to_owned(), true),
            "json" => ("{{json .}}".to_owned(), false),
            text => match text.strip_prefix("table") {
                Some(rest) => (rest.trim_start_matches(' ').to_owned(), true),
                None => (text.to_owned(), false),
            },
        };
        Self { template: text.replace("\\t", "\t").replace("\\n", "\n"), is_table, row_type }
    }

    /// Whether the template uses a field.
    pub fn mentions(&self, field: &str) -> bool {
        self.template.contains(field)
    }

    /// Refuses a template that cannot be read.
    pub fn check(&self) -> Result<(), Failure> {
        self.parse().map(drop)
    }

    fn parse(&self) -> Result<Template, Failure> {
        Template::parse(&self.template).map_err(|error| Failure::text(format!("failed to parse template: {error}")))
    }

    /// All rows as text.
    pub fn render(&self, columns: &[Column], rows: Vec<Vec<Field>>) -> Result<String, Failure> {
        let template = self.parse()?;
        let fill = |value: &Value, mode: Mode| template.render(value, mode).map_err(|error| self.refused(&error));
        let mut out = String::new();
        if self.is_table {
            let titles = columns.iter().map(|(name, title)| ((*name).to_owned(), Value::text(*title)));
            out.push_str(&fill(&header(titles.collect()), Mode::Header)?);
            out.push('\n');
        }
        for row in rows {
            out.push_str(&fill(&structure(row), Mode::Row)?);
            out.push('\n');
        }
        if out.is_empty() && !columns.is_empty() {
            // Without rows a wrong field is still wrong.
            let titles = columns.iter().map(|(name, title)| ((*name).to_owned(), Value::text(*title)));
            fill(&header(titles.collect()), Mode::Header)?;
        }
        Ok(if self.is_table { table::align(&out) } else { out })
    }
}

impl Format {
    /// Fills the template for a row of nothing, as Docker does before it asks the daemon.
    pub fn try_empty(&self, columns: &[Column]) -> Result<(), Failure> {
        let mut row: Vec<Field> = columns.iter().map(|(name, _)| (*name, Value::text(""))).collect();
        row.push(("Label", label_method(engine_api::StringMap::new())));
        self.parse()?.render(&structure(row), Mode::Row).map(drop).map_err(|error| {
            let words = self.refused(&error).to_string();
            Failure::Text(words.replacen("template parsing error", "failed to execute template", 1))
        })
    }

    /// In Docker's words, which name the type of its own rows.
    fn refused(&self, error: &crate::template::TemplateError) -> Failure {
        let error = error.to_string();
        let words = match error.split_once("map has no entry for key ") {
            Some((before, field)) => {
                let field = field.trim_matches('"');
                let package = if self.row_type.contains('.') { "" } else { "formatter." };
                format!("{before}can't evaluate field {field} in type *{package}{}", self.row_type)
            }
            None => error,
        };
        Failure::Text(format!("template parsing error: {words}"))
    }
}

/// Fields sorted by name, as Go marshals a map.
fn structure(mut row: Vec<Field>) -> Value {
    row.sort_by_key(|(name, _)| *name);
    Value::structure(row.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// Titles; a method of the rows (`.Label "x"`) has its argument's last word for a title.
fn header(mut titles: Vec<(String, Value)>) -> Value {
    let label = |arguments: &[Value]| {
        let name = arguments.first().map(Value::to_string).unwrap_or_default();
        let words = name.rsplit('.').next().unwrap_or_default().replace(['-', '_'], " ");
        Ok(Value::Text(words))
    };
    titles.push(("Label".to_owned(), Value::Method(std::rc::Rc::new(label))));
    Value::structure(titles)
}

/// The method `Label` of rows that have labels.
pub fn label_method(labels: engine_api::StringMap) -> Value {
    Value::Method(std::rc::Rc::new(move |arguments: &[Value]| {
        let name = arguments.first().map(Value::to_string).unwrap_or_default();
        Ok(Value::text(labels.get(&name).cloned().unwrap_or_default()))
    }))
}

/// `a=1,b=2`.
pub fn join_labels(labels: &engine_api::StringMap) -> String {
    let parts: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    parts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    const COLUMNS: &[Column] = &[("ID", "CONTAINER ID"), ("Names", "NAMES")];

    fn rows() -> Vec<Vec<Field>> {
        let labels = engine_api::StringMap::from([("com.x.tier".into(), "front".into())]);
        vec![vec![
            ("Names", Value::text("web")),
            ("ID", Value::text("0123456789ab")),
            ("Label", label_method(labels)),
            ("Ports", Value::text("80->80/tcp")),
        ]]
    }

    fn shown(asked: &str) -> String {
        Format::new(asked, "{{.ID}}\t{{.Names}}", "ContainerContext")
            .render(COLUMNS, rows())
            .unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn rows_are_shown_as_tables_json_and_templates() {
        assert_eq!(shown(""), "CONTAINER ID   NAMES\n0123456789ab   web\n");
        assert_eq!(shown("table"), shown(""));
        assert_eq!(shown("table {{.Names}}\\t{{.Label \"com.x.tier\"}}"), "NAMES     tier\nweb       front\n");
        assert_eq!(shown("json"), "{\"ID\":\"0123456789ab\",\"Names\":\"web\",\"Ports\":\"80-\\u003e80/tcp\"}\n");
        assert_eq!(shown("{{.Names}}: {{json .Ports}}"), "web: \"80->80/tcp\"\n");
        assert_eq!(shown("{{"), "failed to parse template: template: :1: unclosed action");
    }
}
