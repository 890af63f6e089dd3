//! Values of the tape as serde's types, with Go's leniency.

use std::borrow::Cow;

use serde::de::value::{BorrowedStrDeserializer, StringDeserializer};
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::scan::{Kind, Tape};
use super::{JsonError, MAX_VALUE_DEPTH, names, probe};

/// One value; an object that was given several times is all of its places.
#[derive(Clone)]
pub struct Value<'t> {
    tape: &'t Tape<'t>,
    at: usize,
    /// Earlier objects of the same name, whose members count where this one has none.
    earlier: Vec<usize>,
    depth: usize,
    outer: Outer,
}

/// Another structure that a value's members are told of.
#[derive(Clone, Copy)]
pub enum Outer {
    None,
    /// Go has another name for it.
    Named(&'static str),
    /// Go has it embedded into this one.
    Embedding(&'static str),
}

/// Go folds these two into ASCII.
fn folded(character: char) -> char {
    match character {
        '\u{212a}' => 'k',
        '\u{17f}' => 's',
        other => other.to_ascii_lowercase(),
    }
}

/// Whether a key is taken for a member.
pub fn is_same_name(key: &str, member: &str) -> bool {
    key == member || key.chars().map(folded).eq(member.chars().map(folded))
}

impl<'t> Value<'t> {
    pub fn root(tape: &'t Tape<'t>, outer: Outer) -> Self {
        Self { tape, at: 0, earlier: Vec::new(), depth: 0, outer }
    }

    fn child(&self, at: usize) -> Self {
        Self { tape: self.tape, at, earlier: Vec::new(), depth: self.depth + 1, outer: Outer::None }
    }

    fn kind(&self) -> Kind {
        self.tape.kind(self.at)
    }

    /// Keys and values in their order, of the earlier objects first.
    fn members(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.earlier.iter().chain(std::iter::once(&self.at)).flat_map(|at| self.tape.members(*at))
    }

    fn wrong(&self, go_type: impl Into<String>) -> JsonError {
        let value = match self.kind() {
            Kind::Null => "null",
            Kind::True | Kind::False => "bool",
            Kind::Number => "number",
            Kind::Text => "string",
            Kind::Array => "array",
            Kind::Object => "object",
        };
        JsonError::wrong_type(value, go_type)
    }

    fn check_depth(&self) -> Result<(), JsonError> {
        if self.depth > MAX_VALUE_DEPTH { Err(JsonError::Depth) } else { Ok(()) }
    }

    /// An integer; `T` says whether it fits.
    fn integer<T: std::str::FromStr + Default>(&self, go_type: &str) -> Result<T, JsonError> {
        match self.kind() {
            Kind::Null => Ok(T::default()),
            Kind::Number => {
                let digits = self.tape.number(self.at);
                digits.parse().map_err(|_| JsonError::wrong_type(format!("number {digits}"), go_type))
            }
            _ => Err(self.wrong(go_type)),
        }
    }

    fn string<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.kind() {
            Kind::Null => visitor.visit_str(""),
            Kind::Text => match self.tape.text(self.at) {
                Cow::Borrowed(text) => visitor.visit_str(text),
                Cow::Owned(text) => visitor.visit_string(text),
            },
            _ => Err(self.wrong("string")),
        }
    }

    fn list<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.check_depth()?;
        let elements: Vec<usize> = self.tape.elements(self.at).collect();
        visitor.visit_seq(Elements { list: &self, elements: elements.into_iter(), wanted: None })
    }
}

macro_rules! integers {
    ($($function:ident $visit:ident $type:ty, $name:literal)*) => {$(
        fn $function<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
            visitor.$visit(self.integer::<$type>($name)?)
        }
    )*};
}

impl<'de> Deserializer<'de> for Value<'_> {
    type Error = JsonError;

    integers! {
        deserialize_i8 visit_i8 i8, "int8" deserialize_i16 visit_i16 i16, "int16"
        deserialize_i32 visit_i32 i32, "int32" deserialize_i64 visit_i64 i64, "int64"
        deserialize_u8 visit_u8 u8, "uint8" deserialize_u16 visit_u16 u16, "uint16"
        deserialize_u32 visit_u32 u32, "uint32" deserialize_u64 visit_u64 u64, "uint64"
        deserialize_f32 visit_f32 f32, "float32" deserialize_f64 visit_f64 f64, "float64"
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.check_depth()?;
        match self.kind() {
            Kind::Null => visitor.visit_unit(),
            Kind::True => visitor.visit_bool(true),
            Kind::False => visitor.visit_bool(false),
            Kind::Text => self.string(visitor),
            Kind::Array => self.list(visitor),
            Kind::Object => self.deserialize_map(visitor),
            Kind::Number => {
                let digits = self.tape.number(self.at);
                if let Ok(number) = digits.parse::<u64>() {
                    visitor.visit_u64(number)
                } else if let Ok(number) = digits.parse::<i64>() {
                    visitor.visit_i64(number)
                } else {
                    visitor.visit_f64(digits.parse().map_err(|_| self.wrong("float64"))?)
                }
            }
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.kind() {
            Kind::True => visitor.visit_bool(true),
            Kind::False | Kind::Null => visitor.visit_bool(false),
            _ => Err(self.wrong("bool")),
        }
    }

    fn deserialize_char<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.string(visitor)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.string(visitor)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.string(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.string(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.string(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.kind() {
            Kind::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        visitor.visit_unit()
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, JsonError> {
        visitor.visit_unit()
    }

    /// A name around another structure: the members are told as its own.
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        mut self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        self.outer = Outer::Named(name);
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        match self.kind() {
            Kind::Array | Kind::Null => self.list(visitor),
            _ => Err(self.wrong(probe::list_type(visitor))),
        }
    }

    /// Go's arrays: what is too much is skipped, what is missing is zero.
    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, JsonError> {
        self.check_depth()?;
        if !matches!(self.kind(), Kind::Array | Kind::Null) {
            return Err(self.wrong(probe::array_type(visitor, length)));
        }
        let elements: Vec<usize> = self.tape.elements(self.at).take(length).collect();
        visitor.visit_seq(Elements { list: &self, elements: elements.into_iter(), wanted: Some(length) })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.check_depth()?;
        if !matches!(self.kind(), Kind::Object | Kind::Null) {
            return Err(self.wrong(probe::map_type(visitor)));
        }
        let members: Vec<(usize, usize)> = self.members().collect();
        visitor.visit_map(Entries { map: &self, members: members.into_iter(), value: None })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        self.check_depth()?;
        if !matches!(self.kind(), Kind::Object | Kind::Null) {
            return Err(self.wrong(match self.outer {
                Outer::Named(outer) | Outer::Embedding(outer) => names::structure(outer),
                Outer::None => names::structure(name),
            }));
        }
        let found = self.found(fields);
        visitor.visit_map(Members { object: &self, name, found: found.into_iter(), value: None })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, JsonError> {
        match self.kind() {
            Kind::Text => visitor.visit_enum(self.tape.text(self.at).into_owned().into_deserializer()),
            _ => Err(self.wrong("string")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        visitor.visit_unit()
    }
}

/// A member of a structure and where it was given, objects all of their times.
type Found = (&'static str, Vec<usize>);

impl Value<'_> {
    /// The members that the structure has, in the order in which they were first given.
    fn found(&self, fields: &'static [&'static str]) -> Vec<Found> {
        let mut found: Vec<Found> = Vec::new();
        for (key, value) in self.members() {
            let key = self.tape.text(key);
            let exact = fields.iter().find(|field| **field == key);
            let Some(field) = exact.or_else(|| fields.iter().find(|field| is_same_name(&key, field))) else { continue };
            match found.iter_mut().find(|(known, _)| known == field) {
                None => found.push((field, vec![value])),
                Some((_, places)) => {
                    if self.tape.kind(value) != Kind::Object {
                        places.clear();
                    }
                    places.push(value);
                }
            }
        }
        found
    }
}

struct Elements<'v, 't> {
    list: &'v Value<'t>,
    elements: std::vec::IntoIter<usize>,
    /// How many there must be, zeros behind those that there are.
    wanted: Option<usize>,
}

impl<'de> SeqAccess<'de> for Elements<'_, '_> {
    type Error = JsonError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, JsonError> {
        let left = self.wanted;
        if let Some(wanted) = &mut self.wanted {
            *wanted = wanted.saturating_sub(1);
        }
        match (self.elements.next(), left) {
            (Some(at), _) => seed.deserialize(self.list.child(at)).map(Some).map_err(JsonError::in_element),
            (None, Some(1..)) => seed.deserialize(0_u32.into_deserializer()).map(Some),
            (None, _) => Ok(None),
        }
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.elements.len())
    }
}

struct Entries<'v, 't> {
    map: &'v Value<'t>,
    members: std::vec::IntoIter<(usize, usize)>,
    value: Option<usize>,
}

impl<'de> MapAccess<'de> for Entries<'_, '_> {
    type Error = JsonError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, JsonError> {
        let Some((key, value)) = self.members.next() else { return Ok(None) };
        self.value = Some(value);
        let key: StringDeserializer<JsonError> = self.map.tape.text(key).into_owned().into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, JsonError> {
        let at = self.value.take().ok_or_else(|| JsonError::Other("a value without its key".to_owned()))?;
        seed.deserialize(self.map.child(at)).map_err(JsonError::in_element)
    }
}

struct Members<'v, 't> {
    object: &'v Value<'t>,
    name: &'static str,
    found: std::vec::IntoIter<Found>,
    value: Option<Found>,
}

impl<'de> MapAccess<'de> for Members<'_, '_> {
    type Error = JsonError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, JsonError> {
        let Some(found) = self.found.next() else { return Ok(None) };
        let field = found.0;
        self.value = Some(found);
        seed.deserialize(BorrowedStrDeserializer::new(field)).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, JsonError> {
        let Some((field, mut places)) = self.value.take() else {
            return Err(JsonError::Other("a value without its key".to_owned()));
        };
        let Some(at) = places.pop() else { return Err(JsonError::Other("a member without a place".to_owned())) };
        let value = Value { earlier: places, ..self.object.child(at) };
        seed.deserialize(value).map_err(|error| self.in_member(field, error))
    }
}

impl Members<'_, '_> {
    /// With Go's name of the member's type, and the place.
    fn in_member(&self, field: &'static str, mut error: JsonError) -> JsonError {
        if let JsonError::Type { go_type, place, .. } = &mut error
            && place.path.is_empty()
            && !place.in_element
            && let Some(named) = names::member_type(self.name, field)
        {
            named.clone_into(go_type);
        }
        let mut members = Vec::new();
        let structure = match self.object.outer {
            Outer::Embedding(outer) => {
                // An embedded structure stands among the members, by its own name.
                members.push(self.name);
                names::bare(outer)
            }
            Outer::Named(outer) => names::bare(outer),
            Outer::None => names::bare(self.name),
        };
        members.extend(names::embedded(self.name, field));
        members.push(field);
        error.within(&structure, &members)
    }
}
