//! Go's `printf` for these values. Wrong uses are shown in the text, as in Go: `%!d(string=x)`, `%!v(MISSING)`.

use std::fmt::Write as _;

use go_text::quote;

use crate::value::Value;

/// Widest field.
const MAX_WIDTH: usize = 4096;
/// Most digits behind the point.
const MAX_PRECISION: usize = 400;

/// Flags, width and precision between `%` and its verb.
#[derive(Default, Clone)]
struct Spec {
    minus: bool,
    plus: bool,
    zero: bool,
    blank: bool,
    sharp: bool,
    width: usize,
    precision: Option<usize>,
}

pub(crate) fn printf(format: &str, arguments: &[Value]) -> String {
    let mut printer = Printer { rest: format, arguments, at: 0, reordered: false, out: String::new() };
    printer.run();
    printer.out
}

struct Printer<'a> {
    rest: &'a str,
    arguments: &'a [Value],
    at: usize,
    /// An explicit index was used: what is left over is no mistake then.
    reordered: bool,
    out: String,
}

impl Printer<'_> {
    fn run(&mut self) {
        while let Some(at) = self.rest.find('%') {
            self.out.push_str(&self.rest[..at]);
            self.rest = &self.rest[at + 1..];
            self.directive();
        }
        self.out.push_str(self.rest);
        let extra = self.arguments.get(self.at..).unwrap_or_default();
        if !self.reordered && !extra.is_empty() {
            let shown: Vec<String> = extra.iter().map(typed).collect();
            let _ = write!(self.out, "%!(EXTRA {})", shown.join(", "));
        }
    }

    fn directive(&mut self) {
        let mut spec = Spec::default();
        while let Some(c) = self.rest.chars().next() {
            match c {
                '-' => spec.minus = true,
                '+' => spec.plus = true,
                '0' => spec.zero = true,
                ' ' => spec.blank = true,
                '#' => spec.sharp = true,
                _ => break,
            }
            self.rest = &self.rest[1..];
        }
        let mut good = self.index();
        if let Some(width) = self.number() {
            spec.minus |= width < 0;
            spec.width = usize::try_from(width.unsigned_abs()).unwrap_or(MAX_WIDTH).min(MAX_WIDTH);
        }
        if let Some(rest) = self.rest.strip_prefix('.') {
            self.rest = rest;
            good &= self.index();
            let precision = self.number().unwrap_or(0);
            spec.precision = usize::try_from(precision).ok().map(|precision| precision.min(MAX_PRECISION));
        }
        good &= self.index();
        let Some(verb) = self.rest.chars().next() else {
            self.out.push_str("%!(NOVERB)");
            return;
        };
        self.rest = &self.rest[verb.len_utf8()..];
        if verb == '%' {
            self.out.push('%');
        } else if !good {
            let _ = write!(self.out, "%!{verb}(BADINDEX)");
        } else if let Some(value) = self.arguments.get(self.at) {
            self.at += 1;
            self.out.push_str(&one(verb, &spec, value));
        } else {
            let _ = write!(self.out, "%!{verb}(MISSING)");
        }
    }

    /// `[2]`: which argument comes next. Answers whether there is such a one.
    fn index(&mut self) -> bool {
        let Some(rest) = self.rest.strip_prefix('[') else { return true };
        self.reordered = true;
        let Some((digits, behind)) = rest.split_once(']') else { return false };
        self.rest = behind;
        match digits.parse::<usize>() {
            Ok(number) if (1..=self.arguments.len()).contains(&number) => {
                self.at = number - 1;
                true
            }
            _ => false,
        }
    }

    /// Digits, or the next argument for `*`.
    fn number(&mut self) -> Option<i64> {
        if let Some(rest) = self.rest.strip_prefix('*') {
            self.rest = rest;
            let value = self.arguments.get(self.at);
            self.at += 1;
            return match value {
                Some(Value::Int(value)) => Some(*value),
                _ => {
                    self.out.push_str("%!(BADWIDTH)");
                    None
                }
            };
        }
        let end = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        if digits.is_empty() { None } else { Some(digits.parse().unwrap_or(i64::MAX)) }
    }
}

fn typed(value: &Value) -> String {
    match value {
        Value::Nil | Value::Missing => "<nil>".to_owned(),
        value => format!("{}={value}", value.kind()),
    }
}

/// One value by one verb, padded.
fn one(verb: char, spec: &Spec, value: &Value) -> String {
    match (verb, value) {
        ('T', value) => padded(value.kind(), spec),
        ('v', Value::Nil | Value::Missing) => padded("<nil>", spec),
        (_, Value::Nil | Value::Missing) => format!("%!{verb}(<nil>)"),
        (_, Value::LeftOut(inner)) => one(verb, spec, inner),
        ('v', Value::List(_) | Value::Map(_) | Value::Struct(_) | Value::NilList | Value::NilMap)
        | (_, Value::List(_) | Value::Map(_) | Value::Struct(_) | Value::NilList | Value::NilMap) => {
            many(verb, spec, value)
        }
        (verb, Value::Text(text)) => of_text(verb, spec, text),
        (verb, Value::Int(number)) => of_int(verb, spec, *number),
        (verb, Value::Float(number)) => of_float(verb, spec, *number),
        ('v' | 't', Value::Bool(value)) => padded(&value.to_string(), spec),
        (verb, value) => format!("%!{verb}({})", typed(value)),
    }
}

/// Each member by the verb, as Go prints what holds others.
fn many(verb: char, spec: &Spec, value: &Value) -> String {
    let each = |value: &Value| one(verb, spec, value);
    match value {
        Value::List(items) => format!("[{}]", items.iter().map(each).collect::<Vec<_>>().join(" ")),
        Value::Map(pairs) => {
            let of_key = |key: &str| one(verb, spec, &Value::text(key));
            let pairs: Vec<String> =
                pairs.iter().map(|(key, value)| format!("{}:{}", of_key(key), each(value))).collect();
            format!("map[{}]", pairs.join(" "))
        }
        Value::Struct(members) => {
            let shown = members.iter().filter(|(_, value)| !matches!(value, Value::Method(_)));
            let parts =
                shown.map(|(name, value)| if spec.plus { format!("{name}:{}", each(value)) } else { each(value) });
            format!("{{{}}}", parts.collect::<Vec<_>>().join(" "))
        }
        Value::NilMap => "map[]".to_owned(),
        _ => "[]".to_owned(),
    }
}

fn of_text(verb: char, spec: &Spec, text: &str) -> String {
    let cut = || text.chars().take(spec.precision.unwrap_or(usize::MAX)).collect::<String>();
    let hexadecimal = |upper: bool| {
        let digits = cut()
            .bytes()
            .map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") })
            .collect::<Vec<_>>();
        digits.join(if spec.blank { " " } else { "" })
    };
    let shown = match verb {
        'v' if spec.sharp => quote(&cut()),
        'v' | 's' => cut(),
        'q' if spec.sharp && !text.contains('`') => format!("`{}`", cut()),
        'q' => quote(&cut()),
        'x' => hexadecimal(false),
        'X' => hexadecimal(true),
        _ => return format!("%!{verb}(string={text})"),
    };
    padded(&shown, spec)
}

fn of_int(verb: char, spec: &Spec, number: i64) -> String {
    let size = number.unsigned_abs();
    let (prefix, digits) = match verb {
        'v' | 'd' => ("", size.to_string()),
        'b' => (if spec.sharp { "0b" } else { "" }, format!("{size:b}")),
        'o' => (if spec.sharp { "0" } else { "" }, format!("{size:o}")),
        'O' => ("0o", format!("{size:o}")),
        'x' => (if spec.sharp { "0x" } else { "" }, format!("{size:x}")),
        'X' => (if spec.sharp { "0X" } else { "" }, format!("{size:X}")),
        'c' | 'q' | 'U' => {
            let c = u32::try_from(number).ok().and_then(char::from_u32).unwrap_or('\u{fffd}');
            let shown = match verb {
                'c' => c.to_string(),
                'q' => format!("{c:?}"),
                _ => format!("U+{number:04X}"),
            };
            return padded(&shown, spec);
        }
        'e' | 'E' | 'f' | 'F' | 'g' | 'G' | 's' | 't' | 'p' => return format!("%!{verb}(int={number})"),
        _ => return format!("%!{verb}(int={number})"),
    };
    let least = spec.precision.unwrap_or(0);
    let digits = format!("{}{digits}", "0".repeat(least.saturating_sub(digits.len())));
    signed(number < 0, prefix, &digits, &Spec { zero: spec.zero && spec.precision.is_none(), ..spec.clone() })
}

fn of_float(verb: char, spec: &Spec, number: f64) -> String {
    let size = number.abs();
    let digits = match verb {
        'f' | 'F' => format!("{size:.*}", spec.precision.unwrap_or(6)),
        'e' | 'E' => exponential(size, spec.precision.unwrap_or(6)),
        'v' | 'g' | 'G' => match spec.precision {
            None => Value::Float(size).to_string(),
            Some(precision) => shortest(size, precision.max(1)),
        },
        _ => return format!("%!{verb}(float64={})", Value::Float(number)),
    };
    let digits = if verb.is_ascii_uppercase() { digits.to_uppercase() } else { digits };
    signed(number.is_sign_negative() && number != 0.0, "", &digits, spec)
}

/// `1.5e+00`.
fn exponential(size: f64, precision: usize) -> String {
    let text = format!("{size:.precision$e}");
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
    format!("{mantissa}e{sign}{digits:0>2}")
}

/// So many significant digits, without zeros at the end; an exponent for the very large and small.
fn shortest(size: f64, digits: usize) -> String {
    let text = exponential(size, digits - 1);
    let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "+00"));
    let power: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text.to_owned() }
    };
    if power < -4 || power >= i32::try_from(digits).unwrap_or(i32::MAX) {
        return format!("{}e{exponent}", trimmed(mantissa));
    }
    let behind = usize::try_from(i32::try_from(digits).unwrap_or(0) - 1 - power).unwrap_or(0);
    trimmed(&format!("{size:.behind$}"))
}

/// A number with its sign, padded; zeros go between sign and digits.
fn signed(negative: bool, prefix: &str, digits: &str, spec: &Spec) -> String {
    let sign = match (negative, spec.plus, spec.blank) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    };
    let zeros =
        if spec.zero && !spec.minus { spec.width.saturating_sub(sign.len() + prefix.len() + digits.len()) } else { 0 };
    let whole = format!("{sign}{prefix}{}{digits}", "0".repeat(zeros));
    padded(&whole, &Spec { zero: false, ..spec.clone() })
}

fn padded(text: &str, spec: &Spec) -> String {
    let missing = spec.width.saturating_sub(text.chars().count());
    if spec.minus {
        return format!("{text}{}", " ".repeat(missing));
    }
    format!("{}{text}", if spec.zero { "0" } else { " " }.repeat(missing))
}
