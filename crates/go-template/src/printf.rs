//! Go's `printf` for the verbs that make sense for these values.

use super::value::Value;

/// Widest field.
const MAX_WIDTH: usize = 4096;

/// Flags, width and precision between `%` and its verb.
#[derive(Default)]
struct Spec {
    minus: bool,
    plus: bool,
    zero: bool,
    blank: bool,
    sharp: bool,
    width: usize,
    precision: Option<usize>,
}

/// Wrong uses are shown in the text, as in Go: `%!d(string=x)`, `%!v(MISSING)`.
pub(super) fn printf(format: &str, arguments: &[Value]) -> String {
    let mut out = String::new();
    let mut rest = format.chars().peekable();
    let mut next = arguments.iter();
    while let Some(c) = rest.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let spec = read_spec(&mut rest, &mut next);
        match rest.next() {
            None => out.push_str("%!(NOVERB)"),
            Some('%') => out.push('%'),
            Some(verb) => match next.next() {
                None => out.push_str(&format!("%!{verb}(MISSING)")),
                Some(value) => out.push_str(&padded(one(verb, &spec, value), &spec)),
            },
        }
    }
    let extra: Vec<String> = next.map(|value| format!("{}={value}", value.kind())).collect();
    if !extra.is_empty() {
        out.push_str(&format!("%!(EXTRA {})", extra.join(", ")));
    }
    out
}

fn read_spec<'a>(
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
    arguments: &mut impl Iterator<Item = &'a Value>,
) -> Spec {
    let mut spec = Spec::default();
    while let Some(c) = rest.peek() {
        match c {
            '-' => spec.minus = true,
            '+' => spec.plus = true,
            '0' => spec.zero = true,
            ' ' => spec.blank = true,
            '#' => spec.sharp = true,
            _ => break,
        }
        rest.next();
    }
    if let Some(width) = number(rest, arguments) {
        spec.width = width;
    }
    if rest.next_if_eq(&'.').is_some() {
        spec.precision = Some(number(rest, arguments).unwrap_or(0));
    }
    spec
}

fn number<'a>(
    rest: &mut std::iter::Peekable<std::str::Chars<'_>>,
    arguments: &mut impl Iterator<Item = &'a Value>,
) -> Option<usize> {
    if rest.next_if_eq(&'*').is_some() {
        return match arguments.next() {
            Some(Value::Int(value)) => usize::try_from(*value).ok().map(|value| value.min(MAX_WIDTH)),
            _ => None,
        };
    }
    let mut value = None;
    while let Some(digit) = rest.peek().and_then(|c| c.to_digit(10)) {
        value = Some((value.unwrap_or(0) * 10 + digit as usize).min(MAX_WIDTH));
        rest.next();
    }
    value
}

fn one(verb: char, spec: &Spec, value: &Value) -> String {
    let sign = |negative: bool| match (negative, spec.plus, spec.blank) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    };
    match (verb, value) {
        ('v', Value::Text(text)) if spec.sharp => format!("{text:?}"),
        ('v', value) => value.to_string(),
        ('s', Value::Text(text)) => cut(text, spec),
        ('s', Value::List(_) | Value::Map(_) | Value::Struct(_)) => value.to_string(),
        ('q', Value::Text(text)) => format!("{text:?}"),
        ('q', Value::List(items)) => {
            let items: Vec<String> = items.iter().map(|item| one('q', spec, item)).collect();
            format!("[{}]", items.join(" "))
        }
        ('t', Value::Bool(value)) => value.to_string(),
        ('d', Value::Int(value)) => format!("{}{}", sign(*value < 0), value.unsigned_abs()),
        ('x', Value::Int(value)) => format!("{}{:x}", sign(*value < 0), value.unsigned_abs()),
        ('X', Value::Int(value)) => format!("{}{:X}", sign(*value < 0), value.unsigned_abs()),
        ('o', Value::Int(value)) => format!("{}{:o}", sign(*value < 0), value.unsigned_abs()),
        ('b', Value::Int(value)) => format!("{}{:b}", sign(*value < 0), value.unsigned_abs()),
        ('c', Value::Int(value)) => {
            u32::try_from(*value).ok().and_then(char::from_u32).unwrap_or('\u{fffd}').to_string()
        }
        ('x', Value::Text(text)) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ('f' | 'F', Value::Float(value)) => {
            format!("{}{:.*}", sign(*value < 0.0), spec.precision.unwrap_or(6), value.abs())
        }
        ('g', Value::Float(_)) => value.to_string(),
        ('T', value) => value.kind().to_owned(),
        (verb, value) => format!("%!{verb}({}={value})", value.kind()),
    }
}

fn cut(text: &str, spec: &Spec) -> String {
    text.chars().take(spec.precision.unwrap_or(usize::MAX)).collect()
}

fn padded(text: String, spec: &Spec) -> String {
    let missing = spec.width.saturating_sub(text.chars().count());
    if missing == 0 {
        return text;
    }
    if spec.minus {
        return text + &" ".repeat(missing);
    }
    if spec.zero {
        let (sign, digits) = match text.strip_prefix(['-', '+']) {
            Some(digits) => text.split_at(text.len() - digits.len()),
            None => ("", text.as_str()),
        };
        return format!("{sign}{}{digits}", "0".repeat(missing));
    }
    " ".repeat(missing) + &text
}
