//! All containers by id and by name. The one small lock that creates, renames and removals share.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::error::Error;
use crate::messages;
use crate::record::Container;

#[derive(Default)]
pub(crate) struct Index {
    by_id: BTreeMap<String, Arc<Container>>,
    /// Name to id; a name is taken before its container is there.
    by_name: HashMap<String, String>,
}

impl Index {
    /// Keeps a name for an id.
    pub fn reserve(&mut self, name: &str, id: &str) -> Result<(), Error> {
        match self.by_name.get(name) {
            Some(owner) => Err(messages::name_in_use(name, owner)),
            None => {
                self.by_name.insert(name.to_owned(), id.to_owned());
                Ok(())
            }
        }
    }

    pub fn release(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    pub fn insert(&mut self, container: Arc<Container>) {
        self.by_id.insert(container.id.clone(), container);
    }

    pub fn remove(&mut self, id: &str) {
        self.by_id.remove(id);
        self.by_name.retain(|_, owner| owner != id);
    }

    pub fn get(&self, id: &str) -> Option<Arc<Container>> {
        self.by_id.get(id).cloned()
    }

    pub fn all(&self) -> Vec<Arc<Container>> {
        self.by_id.values().cloned().collect()
    }

    /// Whom `parent/alias` is: a link's name.
    fn linked(&self, name: &str) -> Option<Arc<Container>> {
        let (parent, alias) = name.split_once('/')?;
        let parent = self.by_id.get(self.by_name.get(parent)?)?.record();
        let link = parent.links.iter().find(|link| link.alias == alias)?;
        self.get(&link.id)
    }

    /// By full id, name, or a prefix of the id that only one has: in this order, as Docker looks.
    pub fn find(&self, reference: &str) -> Result<Arc<Container>, Error> {
        if reference.is_empty() {
            return Err(messages::no_reference(reference));
        }
        let bare = reference.strip_prefix('/').unwrap_or(reference);
        if bare.is_empty() {
            return Err(messages::no_such_container(reference));
        }
        if let Some(container) = self.by_id.get(bare) {
            return Ok(Arc::clone(container));
        }
        if let Some(container) = self.by_name.get(bare).and_then(|id| self.by_id.get(id)) {
            return Ok(Arc::clone(container));
        }
        if let Some(container) = self.linked(bare) {
            return Ok(container);
        }
        let mut matching = self.by_id.range(bare.to_owned()..).take_while(|(id, _)| id.starts_with(bare));
        match (matching.next(), matching.next()) {
            (Some((_, container)), None) => Ok(Arc::clone(container)),
            (Some(_), Some(_)) => Err(messages::ambiguous(reference)),
            (None, _) => Err(messages::no_such_container(reference)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::links::Link;
    use crate::record::Record;

    fn container(id: &str, name: &str) -> Arc<Container> {
        Arc::new(Container::new(Record { id: id.to_owned(), name: name.to_owned(), ..Record::default() }))
    }

    fn index() -> Index {
        let mut index = Index::default();
        for (id, name) in [("abc1", "web"), ("abc2", "db"), ("def1", "abc")] {
            index.reserve(name, id).unwrap();
            index.insert(container(id, name));
        }
        index
    }

    fn find(reference: &str) -> Result<String, String> {
        index().find(reference).map(|found| found.id.clone()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_container_is_found_by_id_name_and_prefix_in_this_order() {
        assert_eq!(find("abc2"), Ok("abc2".to_owned()));
        assert_eq!(find("/web"), Ok("abc1".to_owned()));
        assert_eq!(find("abc"), Ok("def1".to_owned()));
        assert_eq!(find("de"), Ok("def1".to_owned()));
    }

    #[test]
    fn a_linked_container_is_found_by_the_link_s_name() {
        let mut index = index();
        let links = Arc::new(vec![Link { id: "abc2".to_owned(), alias: "data".to_owned() }]);
        index.reserve("app", "fed1").unwrap();
        let (id, name) = ("fed1".to_owned(), "app".to_owned());
        index.insert(Arc::new(Container::new(Record { id, name, links, ..Record::default() })));
        assert_eq!(index.find("/app/data").unwrap().id, "abc2");
        assert!(index.find("app/other").is_err());
    }

    #[test]
    fn an_ambiguous_prefix_and_a_stranger_are_refused_in_dockers_words() {
        assert_eq!(find("ab"), Err("multiple IDs found with provided prefix: ab".to_owned()));
        assert_eq!(find("x"), Err("No such container: x".to_owned()));
        assert_eq!(find(""), Err("invalid name or ID supplied: \"\"".to_owned()));
        assert_eq!(find("/"), Err("No such container: /".to_owned()));
    }

    #[test]
    fn a_name_belongs_to_one_container_until_it_is_gone() {
        let mut index = index();
        let error = index.reserve("web", "new1").unwrap_err();
        assert!(
            error
                .to_string()
                .starts_with("Conflict. The container name \"/web\" is already in use by container \"abc1\"")
        );
        index.remove("abc1");
        assert!(index.reserve("web", "new1").is_ok());
    }
}
