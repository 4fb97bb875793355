//! The lists that there are, and when an answer is one: [`List`].

use std::any::Any;

use fairkey_openrouter::{ModelEndpoints, ModelList, ProviderList, ZdrEndpoints};
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::json;

/// A list of the catalogue.
pub(super) trait List: Any + Send + Sync + Sized {
    /// Reads an answer, and says what it is not.
    ///
    /// The types themselves read anything that is an object: an error page would be an empty list.
    fn read(body: &[u8]) -> Result<Self, &'static str>;

    /// Returns the list as an answer that [`read`](Self::read) takes.
    fn write(&self) -> Vec<u8>;

    /// Returns where the next page is.
    fn next_page(&self) -> Option<String> {
        None
    }

    /// Adds the next page.
    fn append(&mut self, _page: Self) {}
}

/// What every list has.
#[derive(Deserialize)]
struct Shape {
    data: Vec<IgnoredAny>,
}

fn data(body: &[u8]) -> Result<usize, &'static str> {
    let shape = serde_json::from_slice::<Shape>(body);
    shape.map(|shape| shape.data.len()).map_err(|_| "no list")
}

/// Of a list in which nothing reads, the form is another.
fn checked<T>(list: T, said: usize, read: usize) -> Result<T, &'static str> {
    if read == 0 && said > 0 {
        return Err("a list of something else");
    }
    Ok(list)
}

impl List for ModelList {
    fn read(body: &[u8]) -> Result<Self, &'static str> {
        let said = data(body)?;
        let mut list = Self::from_slice(body).map_err(|_| "no list")?;
        list.data.retain(|model| !model.id.is_empty());
        let read = list.data.len();
        checked(list, said, read)
    }

    fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }

    fn next_page(&self) -> Option<String> {
        self.next_page().map(str::to_owned)
    }

    fn append(&mut self, page: Self) {
        self.links = page.links;
        self.data.extend(page.data);
    }
}

impl List for ProviderList {
    fn read(body: &[u8]) -> Result<Self, &'static str> {
        let said = data(body)?;
        let mut list = Self::from_slice(body).map_err(|_| "no list")?;
        list.data.retain(|provider| !provider.slug.is_empty());
        let read = list.data.len();
        checked(list, said, read)
    }

    fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl List for ZdrEndpoints {
    fn read(body: &[u8]) -> Result<Self, &'static str> {
        let said = data(body)?;
        let mut list = Self::from_slice(body).map_err(|_| "no list")?;
        list.data.retain(|endpoint| !endpoint.tag.is_empty());
        let read = list.data.len();
        checked(list, said, read)
    }

    fn write(&self) -> Vec<u8> {
        serde_json::to_vec(self).unwrap_or_default()
    }
}

impl List for ModelEndpoints {
    fn read(body: &[u8]) -> Result<Self, &'static str> {
        #[derive(Deserialize)]
        struct Outer {
            data: Inner,
        }
        #[derive(Deserialize)]
        struct Inner {
            endpoints: Vec<IgnoredAny>,
        }
        let outer: Outer = serde_json::from_slice(body).map_err(|_| "no list of endpoints")?;
        let mut list = Self::from_slice(body).map_err(|_| "no list of endpoints")?;
        list.endpoints.retain(|endpoint| !endpoint.tag.is_empty());
        if list.id.is_empty() {
            return Err("endpoints of no model");
        }
        let read = list.endpoints.len();
        checked(list, outer.data.endpoints.len(), read)
    }

    fn write(&self) -> Vec<u8> {
        serde_json::to_vec(&json!({ "data": self })).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_an_object_is_not_yet_a_list() {
        for body in [
            "{}",
            "[]",
            "<html>",
            r#"{"data":{}}"#,
            r#"{"data":[{"x":1}]}"#,
        ] {
            assert!(ModelList::read(body.as_bytes()).is_err(), "{body}");
            assert!(ProviderList::read(body.as_bytes()).is_err(), "{body}");
            assert!(ZdrEndpoints::read(body.as_bytes()).is_err(), "{body}");
            assert!(ModelEndpoints::read(body.as_bytes()).is_err(), "{body}");
        }
        let empty = ModelList::read(br#"{"data":[]}"#);
        assert!(empty.unwrap().data.is_empty(), "nothing was found");
        let none = ModelEndpoints::read(br#"{"data":{"id":"a/b","endpoints":[]}}"#);
        assert!(none.unwrap().endpoints.is_empty(), "nobody serves it");
    }

    #[test]
    fn what_is_written_reads_the_same() {
        let body = br#"{"data":{"id":"a/b","endpoints":[{"tag":"x","later":[1.5]}]},"later":1}"#;
        let list = ModelEndpoints::read(body).unwrap();
        assert_eq!(ModelEndpoints::read(&list.write()).unwrap(), list);
        let models = ModelList::read(br#"{"data":[{"id":"a/b","later":2}],"total_count":1}"#);
        let models = models.unwrap();
        assert_eq!(ModelList::read(&models.write()).unwrap(), models);
    }
}
