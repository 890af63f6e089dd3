//! What a solve came to: an image, or one for each of several platforms, and what is said of them.

use builder::{AssembledImage, Assembly, Made, Statement};

use crate::annotations::Annotations;

/// All results of one build.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    pub parts: Vec<Part>,
    /// It is an index, however many platforms there are.
    pub is_index: bool,
}

/// One platform's.
#[derive(Debug, Clone)]
pub(crate) struct Part {
    /// `linux/amd64`.
    pub platform: String,
    pub made: Made,
    pub said: Vec<Said>,
}

/// Something said of an image.
#[derive(Debug, Clone)]
pub(crate) struct Said {
    pub statement: Statement,
    /// What it is called among files.
    pub filename: &'static str,
    /// It is for images and not for files.
    pub inline_only: bool,
}

impl Built {
    /// One image of which nothing is said.
    pub fn plain(&self) -> Option<&Made> {
        match &self.parts[..] {
            [only] if !self.is_index && only.said.is_empty() => Some(&only.made),
            _ => None,
        }
    }

    /// The same without what is said only where it costs nobody anything: clients ask for that of every build.
    pub fn without_inline(&self) -> Self {
        let mut built = self.clone();
        for part in &mut built.parts {
            part.said.retain(|said| !said.inline_only);
        }
        built
    }

    pub fn has_several(&self) -> bool {
        self.is_index || self.parts.len() > 1
    }

    /// The images with these names and annotations.
    pub fn assembly(&self, names: &[String], annotations: &Annotations) -> Assembly {
        let image = |part: &Part| AssembledImage {
            image: part.made.image.clone(),
            annotations: annotations.of_manifest(&part.platform),
            descriptor_annotations: annotations.of_descriptor(&part.platform),
            statements: part.said.iter().map(|said| said.statement.clone()).collect(),
        };
        Assembly {
            images: self.parts.iter().map(image).collect(),
            names: names.to_vec(),
            annotations: annotations.index.clone(),
            is_index: self.has_several(),
        }
    }
}
