//! Columns, each as wide as its widest cell and three blanks, never narrower than ten and three.

/// Blanks between two columns.
const PADDING: usize = 3;
/// Least width of a column with its padding.
const MIN_WIDTH: usize = 10;
/// Blanks of Docker's older, tab-stopped tables are the same ones.
const CELL_END: char = '\t';

/// Aligns text in which tabs end cells and line ends end rows, as Go's tabwriter does: a column is a run of
/// neighbouring lines that have this cell.
pub fn align(text: &str) -> String {
    align_with(text, MIN_WIDTH, PADDING)
}

/// The same with other widths (`docker top` and `version` use one blank).
pub fn align_with(text: &str, min_width: usize, padding: usize) -> String {
    let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split(CELL_END).collect()).collect();
    let mut widths: Vec<Vec<usize>> = lines.iter().map(|cells| vec![0; cells.len().saturating_sub(1)]).collect();
    let deepest = widths.iter().map(Vec::len).max().unwrap_or(0);
    for column in 0..deepest {
        let mut start = 0;
        while start < lines.len() {
            if widths[start].len() <= column {
                start += 1;
                continue;
            }
            let mut end = start;
            while end < lines.len() && widths[end].len() > column {
                end += 1;
            }
            let widest = lines[start..end].iter().map(|cells| display_width(cells[column])).max().unwrap_or(0);
            // A column without any text takes no room.
            let width = if widest == 0 && min_width == 0 { 0 } else { (widest + padding).max(min_width) };
            widths[start..end].iter_mut().for_each(|row| row[column] = width);
            start = end;
        }
    }
    let mut out = String::with_capacity(text.len() * 2);
    for (cells, widths) in lines.iter().zip(&widths) {
        for (index, cell) in cells.iter().enumerate() {
            out.push_str(cell);
            if let Some(width) = widths.get(index) {
                out.extend(std::iter::repeat_n(' ', width.saturating_sub(display_width(cell))));
            }
        }
        out.push('\n');
    }
    out
}

fn display_width(text: &str) -> usize {
    // Go's tabwriter counts characters, not columns.
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_the_last_one_is_not_padded() {
        let text = "ID\tNAME\tPORTS\n0123456789ab\tx\t80/tcp\n";
        assert_eq!(align(text), "ID             NAME      PORTS\n0123456789ab   x         80/tcp\n");
    }

    #[test]
    fn a_column_ends_where_a_line_lacks_it() {
        assert_eq!(
            align("a\tb\nlong line without cells\nlonger cell here\tc\n"),
            "a         b\nlong line without cells\nlonger cell here   c\n"
        );
    }
}
