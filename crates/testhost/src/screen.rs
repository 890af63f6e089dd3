//! What a terminal shows when these bytes were written to it: the part of xterm's language that docker and shells speak.
//!
//! Lines that have left at the top are kept: a transcript is compared with everything that was printed, after the progress
//! bars have been drawn over. Colours and modes are taken and forgotten.

/// Everything that was shown, and where the cursor stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Screen {
    lines: Vec<Vec<char>>,
    pub row: usize,
    pub column: usize,
    height: usize,
}

impl Screen {
    /// The bytes as text, shown on so many rows. The width is the program's to keep to.
    pub fn show(text: &str, height: usize) -> Self {
        let mut screen = Self { lines: vec![Vec::new()], row: 0, column: 0, height };
        let mut rest = text.chars();
        while let Some(next) = rest.next() {
            match next {
                '\n' => screen.move_to(screen.row + 1, screen.column),
                '\r' => screen.column = 0,
                '\u{8}' => screen.column = screen.column.saturating_sub(1),
                '\t' => screen.column = (screen.column / 8 + 1) * 8,
                '\u{1b}' => screen.escape(&mut rest),
                other if other.is_control() => {}
                other => screen.put(other),
            }
        }
        screen
    }

    /// A line without the blanks behind it.
    pub fn line(&self, row: usize) -> String {
        let line: String = self.lines.get(row).map(|line| line.iter().collect()).unwrap_or_default();
        line.trim_end().to_owned()
    }

    /// The cursor's line as far as the cursor.
    pub fn before_cursor(&self) -> String {
        let line = &self.lines[self.row];
        (0..self.column).map(|at| line.get(at).copied().unwrap_or(' ')).collect()
    }

    /// What stands between this place and the cursor, in lines.
    pub fn since(&self, row: usize, column: usize) -> Vec<String> {
        (row..=self.row)
            .map(|at| {
                let line = &self.lines[at];
                let from = if at == row { column.min(line.len()) } else { 0 };
                let to = if at == self.row { self.column.clamp(from, line.len().max(from)) } else { line.len() };
                line[from..to.min(line.len())].iter().collect()
            })
            .collect()
    }

    fn put(&mut self, character: char) {
        let line = &mut self.lines[self.row];
        if line.len() <= self.column {
            line.resize(self.column + 1, ' ');
        }
        line[self.column] = character;
        self.column += 1;
    }

    fn move_to(&mut self, row: usize, column: usize) {
        if self.lines.len() <= row {
            self.lines.resize(row + 1, Vec::new());
        }
        (self.row, self.column) = (row, column);
    }

    /// The first of the rows that are in sight.
    fn top(&self) -> usize {
        self.lines.len().saturating_sub(self.height)
    }

    fn escape(&mut self, rest: &mut std::str::Chars) {
        match rest.next() {
            Some('[') => self.control_sequence(rest),
            // A title and the like, up to BEL or ESC \.
            Some(']') => {
                while let Some(next) = rest.next() {
                    if next == '\u{7}' || next == '\u{1b}' && rest.next().is_some() {
                        break;
                    }
                }
            }
            _ => {}
        }
    }

    fn control_sequence(&mut self, rest: &mut std::str::Chars) {
        let mut parameters = String::new();
        let Some(kind) = rest.find(|next| {
            let is_end = ('@'..='~').contains(next);
            if !is_end {
                parameters.push(*next);
            }
            is_end
        }) else {
            return;
        };
        let numbers: Vec<usize> = parameters.split(';').map(|part| part.parse().unwrap_or(0)).collect();
        let first = numbers.first().copied().unwrap_or(0);
        match kind {
            'A' => self.row = self.row.saturating_sub(first.max(1)).max(self.top()),
            'B' => self.move_to((self.row + first.max(1)).min(self.top() + self.height - 1), self.column),
            'C' => self.column += first.max(1),
            'D' => self.column = self.column.saturating_sub(first.max(1)),
            'G' => self.column = first.max(1) - 1,
            'H' => {
                let column = numbers.get(1).copied().unwrap_or(0).max(1) - 1;
                self.move_to(self.top() + first.max(1) - 1, column);
            }
            'K' => self.erase_line(first),
            'J' => self.erase_screen(first),
            _ => {}
        }
    }

    fn erase_line(&mut self, which: usize) {
        let (column, line) = (self.column, &mut self.lines[self.row]);
        match which {
            0 => line.truncate(column),
            1 => line.iter_mut().take(column + 1).for_each(|cell| *cell = ' '),
            _ => line.clear(),
        }
    }

    fn erase_screen(&mut self, which: usize) {
        if which == 0 {
            self.erase_line(0);
        }
        let from = if which == 0 { self.row + 1 } else { self.top() };
        self.lines.iter_mut().skip(from).for_each(Vec::clear);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> Vec<String> {
        let screen = Screen::show(text, 4);
        (0..screen.lines.len()).map(|row| screen.line(row)).collect()
    }

    #[test]
    fn bars_are_drawn_over() {
        let text = "latest: Pulling\r\na: Waiting \r\nb: Waiting \r\n\u{1b}[2A\r\u{1b}[2Ka: Pull complete \r\u{1b}[2B";
        assert_eq!(shown(text), ["latest: Pulling", "a: Pull complete", "b: Waiting", ""]);
    }

    #[test]
    fn modes_colours_and_titles_are_not_seen() {
        assert_eq!(shown("\u{1b}[?2004h\u{1b}]0;title\u{7}\u{1b}[1;32mgreen\u{1b}[0m"), ["green"]);
    }

    #[test]
    fn home_is_the_first_row_in_sight() {
        assert_eq!(shown("1\n\r2\n\r3\n\r4\n\r5\u{1b}[Htwo\u{1b}[K\u{1b}[J"), ["1", "two", "", "", ""]);
    }

    #[test]
    fn what_came_since_a_place_is_known_in_lines() {
        let screen = Screen::show("$ echo a\r\na\r\n$ ", 24);
        assert_eq!(screen.since(0, 2), ["echo a", "a", "$ "]);
        assert_eq!(screen.before_cursor(), "$ ");
    }
}
