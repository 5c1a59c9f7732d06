//! From a record with columns of any name to a [`Product`].

use serde_json::{Map, Value};

use super::dollars::dollars;
use super::product::Product;
use crate::data::no_text;
use crate::{Error, Result};

/// Names under which a field is looked for, the first one found wins; case and `_`, `-` and spaces
/// do not count.
const NAMES: [(&str, &[&str]); 6] = [
    ("title", &["title", "name", "product", "producttitle", "productname"]),
    ("category", &["category", "categories", "maincategory", "producttype", "type"]),
    ("brand", &["brand", "manufacturer", "maker", "store", "vendor"]),
    ("description", &["description", "productdescription", "desc"]),
    ("details", &["details", "features", "specifications", "specs", "bullets"]),
    ("price", &["price", "listprice", "priceusd", "cost", "amount"]),
];

/// What stands in a price column where there is none: the texts that pandas reads as missing.
const MISSING: [&str; 18] = [
    "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>",
    "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
];

/// Which columns hold which field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns(Vec<(&'static str, Vec<String>)>);

fn plain(name: &str) -> String {
    name.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

impl Columns {
    /// From `price=list_price,details=cut+color`: a field, and the columns that are joined to it.
    /// Fields that are not named are looked for under their usual names.
    ///
    /// **Errors** [`Error::Invalid`] for anything else.
    pub fn parse(text: &str) -> Result<Columns> {
        let mut columns = Columns::default();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let bad = |why: String| Err(Error::invalid(format!("‹map = {part}›"), why));
            let fields = NAMES.map(|(field, _)| field);
            let Some((field, from)) = part.split_once('=') else {
                return bad("is no FIELD=COLUMN, as in price=list_price".into());
            };
            let Some(field) = fields.into_iter().find(|known| *known == field.trim()) else {
                return bad(format!("`{field}` is no field; there are {}", fields.join(", ")));
            };
            let from: Vec<String> =
                from.split('+').map(|c| c.trim().to_owned()).filter(|c| !c.is_empty()).collect();
            columns.0.retain(|(known, _)| *known != field);
            columns.0.push((field, from));
        }
        Ok(columns)
    }

    /// Columns of a record for a field, with their names.
    fn of<'r>(
        &self,
        field: &str,
        record: &'r Map<String, Value>,
    ) -> Result<Vec<(&'r String, &'r Value)>, String> {
        if let Some((_, given)) = self.0.iter().find(|(known, _)| *known == field) {
            let column = |name: &String| {
                let keys = || Vec::from_iter(record.keys().map(String::as_str)).join(", ");
                record.get_key_value(name).ok_or_else(|| {
                    format!("there is no column `{name}` for {field}; there are {}", keys())
                })
            };
            return given.iter().map(column).collect();
        }
        let names =
            NAMES.iter().find(|(known, _)| *known == field).map_or(&[][..], |(_, names)| names);
        let found =
            names.iter().find_map(|name| record.iter().find(|(key, _)| plain(key) == **name));
        Ok(found.into_iter().collect())
    }

    fn text(&self, field: &str, record: &Map<String, Value>) -> Result<String, String> {
        let texts = self.of(field, record)?.into_iter().map(|(name, value)| {
            text_of(value).map_err(|why| format!("{field}: column `{name}` {why}"))
        });
        let mut texts = texts.collect::<Result<Vec<String>, String>>()?;
        texts.retain(|text| !text.is_empty());
        Ok(texts.join(" "))
    }

    /// Columns of a record of which no field is made. With columns that `map` names but the record
    /// lacks, those are not counted.
    pub fn unused<'r>(&self, record: &'r Map<String, Value>) -> Vec<&'r str> {
        let used = NAMES.iter().filter_map(|(field, _)| self.of(field, record).ok()).flatten();
        let used: Vec<&String> = used.map(|(name, _)| name).collect();
        record.keys().filter(|key| !used.contains(key)).map(String::as_str).collect()
    }

    /// The product of a record, and whether its price is missing (then it is 0).
    ///
    /// **Errors** what is wrong with the record, for a message that names it: a price that is no
    /// number, no column that could be the price, or one of `map` that is not there.
    pub fn product(&self, record: &Map<String, Value>) -> Result<(Product, bool), String> {
        let price = self.of("price", record)?;
        let (price, missing) = match price.as_slice() {
            [] => {
                let keys = Vec::from_iter(record.keys().map(String::as_str)).join(", ");
                return Err(format!(
                    "no column is called price (there are {keys}); say which it is: ‹map = price=COLUMN›"
                ));
            }
            [(_, Value::Null)] => (0.0, true),
            [(_, Value::Number(number))] => (number.as_f64().unwrap_or(f64::NAN), false),
            [(_, Value::String(text))] if is_missing(text) => (0.0, true),
            [(_, Value::String(text))] => {
                (dollars(text).map_err(|why| format!("price: {why}"))?, false)
            }
            [(_, other)] => return Err(format!("price: {other} is no number")),
            _ => return Err("price: more than one column".into()),
        };
        if !price.is_finite() {
            return Err("price: not a finite number".into());
        }
        Ok((Product { price, ..self.unpriced(record)? }, missing))
    }

    /// The product of a record that need have no price, which is left 0.
    ///
    /// **Errors** as [`Columns::product`] has them, but for the price.
    pub fn unpriced(&self, record: &Map<String, Value>) -> Result<Product, String> {
        Ok(Product {
            title: self.text("title", record)?,
            category: self.text("category", record)?,
            brand: self.text("brand", record)?,
            description: self.text("description", record)?,
            details: self.text("details", record)?,
            price: 0.0,
        })
    }
}

fn is_missing(text: &str) -> bool {
    let text = text.trim();
    text.is_empty() || MISSING.contains(&text)
}

/// A value as text: lists joined, objects as `key: value`.
///
/// **Errors** for bytes that are no text, as "holds …".
fn text_of(value: &Value) -> Result<String, String> {
    Ok(match value {
        Value::Null => String::new(),
        Value::String(text) => text.trim().to_owned(),
        Value::Array(all) => {
            let mut texts = all.iter().map(text_of).collect::<Result<Vec<String>, String>>()?;
            texts.retain(|text| !text.is_empty());
            texts.join(" ")
        }
        Value::Object(map) => {
            if let Some(bytes) = no_text(value) {
                return Err(format!("holds {bytes} bytes that are no text"));
            }
            let pair = |(key, value)| Ok(format!("{key}: {}", text_of(value)?));
            map.iter().map(pair).collect::<Result<Vec<String>, String>>()?.join("; ")
        }
        other => other.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(text: &str) -> Map<String, Value> {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn columns_are_found_by_usual_names_and_by_map() {
        let row = record(
            r#"{"Product Name":"Lamp","list_price":"$12.50","color":"red","weight":3,"features":["a","b"]}"#,
        );
        let (product, missing) = Columns::default().product(&row).unwrap();
        assert_eq!((product.title.as_str(), product.price, missing), ("Lamp", 12.5, false));
        assert_eq!(product.details, "a b");
        let columns = Columns::parse("details=color+weight, price=list_price").unwrap();
        assert_eq!(columns.product(&row).unwrap().0.details, "red 3");
        assert!(
            Columns::parse("details=colour").unwrap().product(&row).unwrap_err().contains("colour")
        );
        for bad in ["price", "prize=list_price"] {
            assert!(Columns::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn prices_that_are_none_are_named() {
        let price = |text: &str| Columns::default().product(&record(text));
        assert!(
            price(r#"{"title":"a","price":"cheap"}"#).unwrap_err().contains("`cheap` is no number")
        );
        assert!(price(r#"{"title":"a"}"#).unwrap_err().contains("‹map = price=COLUMN›"));
        assert!(price(r#"{"title":"a","price":[1]}"#).is_err());
        assert!(price(r#"{"title":"a","price":null}"#).unwrap().1);
        for missing in [" ", "NaN", "N/A", "null"] {
            let row = format!(r#"{{"title":"a","price":"{missing}"}}"#);
            assert!(price(&row).unwrap().1, "{missing}");
        }
    }

    #[test]
    fn columns_without_a_field_are_told() {
        let row = record(r#"{"title":"a","name":"b","price":1,"colour":"red","list price":2}"#);
        let unused = |map: &str| {
            let columns = Columns::parse(map).unwrap();
            let mut unused: Vec<String> =
                columns.unused(&row).into_iter().map(String::from).collect();
            unused.sort();
            unused.join(", ")
        };
        assert_eq!(unused(""), "colour, list price, name");
        assert_eq!(unused("price=list price,details=name+colour"), "price");
    }

    #[test]
    fn bytes_that_are_no_text_are_refused_where_they_are_used() {
        let mut row = record(r#"{"title":"a","price":1}"#);
        row.insert("image".into(), crate::data::bytes_value(&[0xff, 0xfe]));
        assert!(Columns::default().product(&row).is_ok());
        let why = Columns::parse("details=image").unwrap().product(&row).unwrap_err();
        assert!(why.contains("details: column `image` holds 2 bytes that are no text"), "{why}");
    }
}
