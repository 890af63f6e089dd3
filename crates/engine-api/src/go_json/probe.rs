//! Go's name of the type that a value is to be read into, asked of the type itself.
//!
//! A type is made to read from [`Probe`], which has no value: it notes what is asked for and fails.

use serde::de::value::StrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::{JsonError, names};

/// Appends to a name.
pub struct Probe<'n>(&'n mut String);

/// The name of what this visitor makes of a list.
pub fn list_type<'de, V: Visitor<'de>>(visitor: V) -> String {
    let mut name = "[]".to_owned();
    let _ = visitor.visit_seq(Probe(&mut name));
    name
}

/// The name of what this visitor makes of `length` elements.
pub fn array_type<'de, V: Visitor<'de>>(visitor: V, length: usize) -> String {
    let mut name = format!("[{length}]");
    let _ = visitor.visit_seq(Probe(&mut name));
    name
}

/// The name of what this visitor makes of a map.
pub fn map_type<'de, V: Visitor<'de>>(visitor: V) -> String {
    let mut name = "map[string]".to_owned();
    let _ = visitor.visit_map(Probe(&mut name));
    name
}

/// Nothing is ever read.
fn seen<T>() -> Result<T, JsonError> {
    Err(JsonError::Other(String::new()))
}

macro_rules! named {
    ($($function:ident $name:literal)*) => {$(
        fn $function<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, JsonError> {
            self.0.push_str($name);
            seen()
        }
    )*};
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = JsonError;

    named! {
        deserialize_any "interface {}" deserialize_bool "bool"
        deserialize_i8 "int8" deserialize_i16 "int16" deserialize_i32 "int32" deserialize_i64 "int64"
        deserialize_u8 "uint8" deserialize_u16 "uint16" deserialize_u32 "uint32" deserialize_u64 "uint64"
        deserialize_f32 "float32" deserialize_f64 "float64"
        deserialize_char "string" deserialize_str "string" deserialize_string "string" deserialize_identifier "string"
        deserialize_bytes "[]uint8" deserialize_byte_buf "[]uint8"
        deserialize_unit "struct {}" deserialize_ignored_any "interface {}"
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        visitor.visit_some(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, _visitor: V) -> Result<V::Value, JsonError> {
        self.0.push_str("struct {}");
        seen()
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, JsonError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, JsonError> {
        self.0.push_str("[]");
        visitor.visit_seq(self)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, JsonError> {
        self.0.push_str(&format!("[{length}]"));
        visitor.visit_seq(self)
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
        self.0.push_str("map[string]");
        visitor.visit_map(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        _fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, JsonError> {
        self.0.push_str(&names::structure(name));
        seen()
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, JsonError> {
        self.0.push_str("string");
        seen()
    }
}

impl<'de> SeqAccess<'de> for Probe<'_> {
    type Error = JsonError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, JsonError> {
        seed.deserialize(Probe(self.0)).map(Some)
    }
}

impl<'de> MapAccess<'de> for Probe<'_> {
    type Error = JsonError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, JsonError> {
        let key: StrDeserializer<'_, JsonError> = "".into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<T::Value, JsonError> {
        seed.deserialize(Probe(self.0))
    }
}
