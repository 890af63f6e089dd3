//! What goes to stdout: tables and JSON.

use runtime::list::Row;
use std::fmt::Write;

/// The name of a user by /etc/passwd, as runc prints the owner; the number when there is none.
pub fn owner(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let number = uid.to_string();
    let named = passwd.lines().find_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?;
        (fields.nth(1)? == number).then(|| name.to_string())
    });
    named.unwrap_or(number)
}

/// Columns as wide as their widest cell, three spaces between, at least twelve wide (runc's table).
pub fn table(rows: &[Row]) -> String {
    let header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_string);
    let cells = |row: &Row| {
        let record = &row.record;
        [
            record.id.clone(),
            row.pid().to_string(),
            row.status.name().to_string(),
            record.bundle.clone(),
            record.created.clone(),
            owner(record.owner),
        ]
    };
    let lines: Vec<[String; 6]> = std::iter::once(header).chain(rows.iter().map(cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].len()).max().unwrap_or(0).max(9) + 3;
    let widths: Vec<usize> = (0..6).map(width).collect();
    let mut text = String::new();
    for line in &lines {
        for (cell, width) in line.iter().zip(&widths).take(5) {
            let _ = write!(text, "{cell:<width$}");
        }
        text.push_str(&line[5]);
        text.push('\n');
    }
    text
}

/// JSON with two spaces, as `state` prints it.
pub fn pretty(value: &serde_json::Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

/// JSON with tabs, as `config.json` is written.
pub fn tabbed(value: &serde_json::Value) -> String {
    let lines = pretty(value);
    let tab = |line: &str| {
        let text = line.trim_start_matches(' ');
        format!("{}{text}\n", "\t".repeat((line.len() - text.len()) / 2))
    };
    lines.lines().map(tab).collect::<String>().trim_end().to_string()
}

/// The lines of ps(1) for these processes, its header first. `None`: ps has no column with the number.
pub fn filter_ps(output: &str, pids: &[i32]) -> Option<String> {
    let mut lines = output.lines();
    let header = lines.next()?;
    let column = header.split_whitespace().position(|word| word == "PID")?;
    let mut text = format!("{header}\n");
    for line in lines {
        let pid = line.split_whitespace().nth(column).and_then(|word| word.parse::<i32>().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_containers_processes_are_shown() {
        let output = "UID PID PPID CMD\nroot 1 0 init\nroot 12 1 sleep 12\n";
        assert_eq!(filter_ps(output, &[12]).as_deref(), Some("UID PID PPID CMD\nroot 12 1 sleep 12\n"));
        assert_eq!(filter_ps("CMD\nx\n", &[1]), None);
    }

    #[test]
    fn config_json_is_written_with_tabs() {
        let value = serde_json::json!({ "a": { "b": "  c" } });
        assert_eq!(tabbed(&value), "{\n\t\"a\": {\n\t\t\"b\": \"  c\"\n\t}\n}");
    }
}
