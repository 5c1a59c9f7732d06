//! From a record with columns of any name to a [`Product`].

use serde_json::{Map, Value};

use super::product::{Product, parse_price};
use crate::{Error, Result};

/// Names under which a field is looked for, the first one found wins; case and `_`, `-` and spaces do not
/// count.
const NAMES: [(&str, &[&str]); 6] = [
    ("title", &["title", "name", "product", "producttitle", "productname"]),
    ("category", &["category", "categories", "maincategory", "producttype", "type"]),
    ("brand", &["brand", "manufacturer", "maker", "store", "vendor"]),
    ("description", &["description", "productdescription", "desc"]),
    ("details", &["details", "features", "specifications", "specs", "bullets"]),
    ("price", &["price", "listprice", "priceusd", "cost", "amount"]),
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
            let bad = |why: String| Err(Error::invalid(format!("--map {part}"), why));
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

    /// Columns of a record for a field.
    fn of<'r>(
        &self,
        field: &str,
        record: &'r Map<String, Value>,
    ) -> Result<Vec<&'r Value>, String> {
        if let Some((_, given)) = self.0.iter().find(|(known, _)| *known == field) {
            let value = |name: &String| {
                let keys = || Vec::from_iter(record.keys().map(String::as_str)).join(", ");
                record.get(name).ok_or_else(|| {
                    format!("there is no column `{name}` for {field}; there are {}", keys())
                })
            };
            return given.iter().map(value).collect();
        }
        let names =
            NAMES.iter().find(|(known, _)| *known == field).map_or(&[][..], |(_, names)| names);
        let found = names.iter().find_map(|name| {
            record.iter().find(|(key, _)| plain(key) == **name).map(|(_, value)| value)
        });
        Ok(found.into_iter().collect())
    }

    fn text(&self, field: &str, record: &Map<String, Value>) -> Result<String, String> {
        let parts =
            self.of(field, record)?.into_iter().map(text_of).filter(|text| !text.is_empty());
        Ok(parts.collect::<Vec<_>>().join(" "))
    }

    /// The product of a record, and whether its price is missing (then it is 0).
    ///
    /// **Errors** what is wrong with the record, for a message that names it: a price that is no number,
    /// no column that could be the price, or one of `--map` that is not there.
    pub fn product(&self, record: &Map<String, Value>) -> Result<(Product, bool), String> {
        let price = self.of("price", record)?;
        let (price, missing) = match price.as_slice() {
            [] => {
                let keys = Vec::from_iter(record.keys().map(String::as_str)).join(", ");
                return Err(format!(
                    "no column is called price (there are {keys}); say which it is: --map price=COLUMN"
                ));
            }
            [Value::Null] => (0.0, true),
            [Value::Number(number)] => (number.as_f64().unwrap_or(f64::NAN), false),
            [Value::String(text)] if text.trim().is_empty() => (0.0, true),
            [Value::String(text)] => {
                (parse_price(text).map_err(|why| format!("price: {why}"))?, false)
            }
            [other] => return Err(format!("price: {other} is no number")),
            _ => return Err("price: more than one column".into()),
        };
        if !price.is_finite() {
            return Err("price: not a finite number".into());
        }
        let product = Product {
            title: self.text("title", record)?,
            category: self.text("category", record)?,
            brand: self.text("brand", record)?,
            description: self.text("description", record)?,
            details: self.text("details", record)?,
            price,
        };
        Ok((product, missing))
    }
}

/// A value as text: lists joined, objects as `key: value`.
fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.trim().to_owned(),
        Value::Array(all) => {
            Vec::from_iter(all.iter().map(text_of).filter(|t| !t.is_empty())).join(" ")
        }
        Value::Object(map) => {
            let pair = |(key, value): (&String, &Value)| format!("{key}: {}", text_of(value));
            Vec::from_iter(map.iter().map(pair)).join("; ")
        }
        other => other.to_string(),
    }
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
        assert!(price(r#"{"title":"a"}"#).unwrap_err().contains("--map price=COLUMN"));
        assert!(price(r#"{"title":"a","price":[1]}"#).is_err());
        assert!(price(r#"{"title":"a","price":null}"#).unwrap().1);
        assert!(price(r#"{"title":"a","price":" "}"#).unwrap().1);
    }
}
