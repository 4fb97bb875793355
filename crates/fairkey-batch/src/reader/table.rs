//! Which columns of a table make a request: [`Table`].

use std::borrow::Cow;

use super::endpoint::{Endpoint, Prompt};
use super::line::{Parsed, Parser, Problem, list};
use super::records::Records;
use super::template::Template;

/// Columns that name a row; of those that are not empty, the first one counts.
pub(super) const IDS: [&str; 2] = ["custom_id", "id"];

/// A table by its header.
pub(super) struct Table {
    names: Vec<String>,
    ids: Vec<usize>,
    system: Option<usize>,
    model: Option<usize>,
    prompt: Content,
}

enum Content {
    Column(usize),
    /// The columns of the template's names, in order.
    Template(Vec<usize>),
}

impl Table {
    /// Finds the columns that count.
    ///
    /// # Errors
    ///
    /// Where one is lacking, or comes twice.
    pub(super) fn new(
        names: Vec<String>,
        template: Option<&Template>,
        endpoint: &Endpoint,
    ) -> Result<Self, String> {
        let find = |wanted: &str| -> Result<Option<usize>, String> {
            let mut found = names.iter().enumerate().filter(|(_, name)| *name == wanted);
            let first = found.next().map(|(at, _)| at);
            match found.next() {
                None => Ok(first),
                Some(_) => Err(format!(
                    "the column {wanted:?} comes twice: give one of them another name"
                )),
            }
        };
        let ids = IDS.iter().filter_map(|name| find(name).transpose());
        let ids: Vec<usize> = ids.collect::<Result<_, _>>()?;
        let (mut system, mut model) = (None, None);
        let prompt = match template {
            Some(template) => {
                let column = |name: &str| find(name)?.ok_or_else(|| lacks(name, &names));
                let columns = template.names().map(column);
                Content::Template(columns.collect::<Result<_, _>>()?)
            }
            None => {
                system = find("system")?;
                model = find("model")?;
                let own = match endpoint.shape().prompt {
                    Prompt::Field(name) => find(name)?,
                    Prompt::Message | Prompt::Unknown => None,
                };
                let column = match own {
                    Some(column) => Some(column),
                    None => find("prompt")?,
                };
                Content::Column(column.ok_or_else(|| lacks("prompt", &names))?)
            }
        };
        Ok(Self {
            names,
            ids,
            system,
            model,
            prompt,
        })
    }

    /// Reads the last record.
    pub(super) fn read(&self, records: &Records, parser: &mut Parser) -> Parsed {
        let (has, columns) = (records.columns(), self.names.len());
        if has != columns {
            let problem = Problem::new(format!(
                "the row has {} and the header {columns}: is a quote or a delimiter missing?",
                if has == 1 {
                    "1 cell".to_owned()
                } else {
                    format!("{has} cells")
                },
            ));
            return (None, Err(problem));
        }
        let mut custom_id = None;
        for id in &self.ids {
            match self.cell(records, *id) {
                Ok("") => {}
                Ok(id) => {
                    custom_id = Some(id.to_owned());
                    break;
                }
                Err(problem) => return (None, Err(problem)),
            }
        }
        (custom_id, self.request(records, parser))
    }

    fn request(&self, records: &Records, parser: &mut Parser) -> Result<crate::Request, Problem> {
        let prompt: Cow<'_, str> = match (&self.prompt, parser.template()) {
            (Content::Template(columns), Some(template)) => template
                .expand(|before, _| self.cell(records, columns[before]).map(Cow::Borrowed))?
                .into(),
            (Content::Template(_), None) => "".into(),
            (Content::Column(column), _) => self.cell(records, *column)?.into(),
        };
        let some = |column: Option<usize>| match column {
            Some(column) => Ok(Some(self.cell(records, column)?).filter(|text| !text.is_empty())),
            None => Ok(None),
        };
        parser.row(&prompt, some(self.system)?, some(self.model)?)
    }

    fn cell<'r>(&self, records: &'r Records, column: usize) -> Result<&'r str, Problem> {
        std::str::from_utf8(records.cell(column)).map_err(|_| {
            let name = &self.names[column];
            Problem::new(format!(
                "the cell of column {name:?} is not UTF-8: convert the file first"
            ))
        })
    }
}

/// Says that a column is not there, and which are.
pub(super) fn lacks(wanted: &str, names: &[String]) -> String {
    let there = list(names.iter().map(|name| &**name));
    let hint = match names {
        [only] if only.contains([';', '\t', '|']) => {
            "; are the cells separated by something else? Say so with --delimiter".to_owned()
        }
        [first, ..] if wanted == "prompt" => {
            format!("; say how a prompt is made of them, as with --template 'Explain: {{{first}}}'")
        }
        _ => String::new(),
    };
    format!("there is no column {wanted:?}: the columns are {there}{hint}")
}
