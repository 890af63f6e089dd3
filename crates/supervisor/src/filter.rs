//! What filters (see [`metadata::Filters`]) look into: the objects of a list, the events of a stream.

use std::borrow::Cow;

pub use metadata::FilterError;

/// Something that filters look into.
pub trait Fields {
    /// The value at a path, `None` where the object has none.
    fn field(&self, path: &[&str]) -> Option<Cow<'_, str>>;
}

/// The filters of a request.
#[derive(Debug, Default)]
pub struct Filter(metadata::Filters);

impl Filter {
    pub fn parse_all<S: AsRef<str>>(filters: &[S]) -> Result<Self, FilterError> {
        metadata::Filters::parse(filters).map(Self)
    }

    pub fn matches(&self, object: &impl Fields) -> bool {
        self.0.matches(|path| object.field(path))
    }

    /// True when nothing is filtered out.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Looks a label up: the rest of the path, joined again, is its name.
pub fn label<'a>(path: &[&str], labels: &'a std::collections::HashMap<String, String>) -> Option<Cow<'a, str>> {
    labels.get(&path.join(".")).map(|value| Cow::Borrowed(value.as_str()))
}

/// A field that counts as present only when it is not empty.
pub fn non_empty(value: &str) -> Option<Cow<'_, str>> {
    (!value.is_empty()).then_some(Cow::Borrowed(value))
}
