//! Cutting text to a width.

/// At most `width` columns, the last one an ellipsis when something was cut. Wide characters take two columns.
pub fn ellipsis(text: &str, width: usize) -> String {
    let total: usize = text.chars().map(columns).sum();
    if total <= width {
        return text.to_owned();
    }
    if width == 0 {
        return String::new();
    }
    let mut used = 0;
    let kept = text.chars().take_while(|c| {
        used += columns(*c);
        used < width
    });
    kept.chain(['…']).collect()
}

/// Columns of a character: East Asian wide ones take two (Unicode Standard Annex 11, the blocks that matter).
pub fn columns(c: char) -> usize {
    match c as u32 {
        0x1100..=0x115f | 0x2e80..=0x303e | 0x3041..=0x33ff | 0x3400..=0x4dbf | 0x4e00..=0x9fff => 2,
        0xa000..=0xa4cf | 0xac00..=0xd7a3 | 0xf900..=0xfaff | 0xfe30..=0xfe6f | 0xff00..=0xff60 => 2,
        0xffe0..=0xffe6 | 0x1f300..=0x1f64f | 0x1f900..=0x1f9ff | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

/// The first 12 digits of an id, without its algorithm.
pub fn short_id(id: &str) -> &str {
    ids::short(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_cut_to_columns() {
        assert_eq!(ellipsis("short", 20), "short");
        assert_eq!(ellipsis("docker-entrypoint.sh nginx", 20), "docker-entrypoint.s…");
        assert_eq!(ellipsis("日本語テキスト", 6), "日本…");
        assert_eq!(ellipsis("ab", 1), "…");
        assert_eq!(ellipsis("ab", 0), "");
    }
}
