//! What a builder of BuildKit's protocol sends by itself: an image for the engine, files for this machine.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use buildkit_api::control::Exporter;
use buildkit_client::Target;

use crate::failure::Failure;
use crate::stream::output_file::OutputFile;

/// Exporters of one build, and the places of those that send.
#[derive(Default)]
pub struct Exported {
    pub exporters: Vec<Exporter>,
    targets: BTreeMap<String, Target>,
    files: Vec<Shared>,
}

/// A file that is there once the build has ended well.
#[derive(Clone)]
struct Shared(Arc<Mutex<Option<OutputFile>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.with(|file| file.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.with(OutputFile::flush)
    }
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut OutputFile) -> io::Result<T>) -> io::Result<T> {
        let mut file = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        act(file.as_mut().ok_or_else(|| io::Error::from(io::ErrorKind::BrokenPipe))?)
    }
}

impl Exported {
    /// The engine's own exporter; annotations are `[TYPE:]KEY=VALUE`.
    pub fn add_image(&mut self, names: &[String], annotations: &[String]) -> Result<(), Failure> {
        let mut attributes = HashMap::new();
        if !names.is_empty() {
            attributes.insert("name".to_owned(), names.join(","));
        }
        for text in annotations {
            let wrong = || Failure::Text(format!("invalid annotation {text:?}, expected key=value"));
            let (key, value) = text.split_once('=').ok_or_else(wrong)?;
            let (levels, key) = levels(key);
            for level in levels {
                attributes.insert(format!("annotation{level}.{key}"), value.to_owned());
            }
        }
        self.add("moby", attributes, None);
        Ok(())
    }

    pub fn add_folder(&mut self, destination: &str) {
        self.add("local", HashMap::new(), Some(Target::Folder(PathBuf::from(destination))));
    }

    /// `-`: standard output.
    pub fn add_tar(&mut self, destination: &str) -> Result<(), Failure> {
        let target: Box<dyn Write + Send> = match destination {
            "-" => Box::new(io::stdout()),
            path => {
                let wrong = |reason| Failure::Text(format!("failed to write the output: {reason}"));
                let file = Shared(Arc::new(Mutex::new(Some(OutputFile::create(path).map_err(wrong)?))));
                self.files.push(file.clone());
                Box::new(file)
            }
        };
        self.add("tar", HashMap::new(), Some(Target::File(target)));
        Ok(())
    }

    fn add(&mut self, kind: &str, attrs: HashMap<String, String>, target: Option<Target>) {
        let id = self.exporters.len().to_string();
        if let Some(target) = target {
            self.targets.insert(id.clone(), target);
        }
        self.exporters.push(Exporter { r#type: kind.to_owned(), attrs, id });
    }

    pub fn targets(&mut self) -> BTreeMap<String, Target> {
        std::mem::take(&mut self.targets)
    }

    /// The build has ended well: its files get their places.
    pub fn commit(self) -> Result<(), Failure> {
        for file in self.files {
            if let Some(file) = file.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
                file.commit()?;
            }
        }
        Ok(())
    }
}

/// `index,manifest[linux/amd64]:KEY`: what an annotation is on, as exporters name it, and its key.
fn levels(text: &str) -> (Vec<String>, &str) {
    const LEVELS: [&str; 4] = ["manifest", "index", "manifest-descriptor", "index-descriptor"];
    let level = |word: &str| {
        let end = word.find('[').unwrap_or(word.len());
        let is_whole = end == word.len() || word.ends_with(']');
        (LEVELS.contains(&&word[..end]) && is_whole).then(|| format!("-{word}"))
    };
    let prefixed = text.split_once(':').and_then(|(before, key)| {
        let levels = before.split(',').map(level).collect::<Option<Vec<_>>>()?;
        Some((levels, key))
    });
    prefixed.unwrap_or_else(|| (vec![String::new()], text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_there_when_the_build_has_ended_well() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("out.tar");
        let mut exported = Exported::default();
        exported.add_tar(path.to_str().unwrap()).unwrap();
        let Some(Target::File(mut file)) = exported.targets().remove("0") else { panic!("no file") };
        file.write_all(b"bytes").unwrap();
        assert!(!path.exists());
        exported.commit().unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"bytes");
    }

    #[test]
    fn annotations_name_what_they_are_on() {
        let mut exported = Exported::default();
        let given = ["a.b=c".to_owned(), "index:d=e=f".to_owned()];
        exported.add_image(&["x:1".to_owned(), "y:2".to_owned()], &given).unwrap();
        let attributes = &exported.exporters[0].attrs;
        assert_eq!(attributes["name"], "x:1,y:2");
        assert_eq!((attributes["annotation.a.b"].as_str(), attributes["annotation-index.d"].as_str()), ("c", "e=f"));
        assert!(exported.add_image(&[], &["nothing".to_owned()]).is_err());
        let of = |text| {
            let (levels, key) = levels(text);
            (levels.join(" "), key)
        };
        assert_eq!(of("index,manifest[linux/amd64]:a"), ("-index -manifest[linux/amd64]".to_owned(), "a"));
        assert_eq!(of("org.x:y"), (String::new(), "org.x:y"));
    }
}
