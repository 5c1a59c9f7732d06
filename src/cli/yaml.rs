//! Settings in YAML, as a table of TOML.

use saphyr::{LoadableYamlNode, Scalar, Yaml};
use toml::Value;

use crate::{Error, Result};

/// The table that a YAML file is. Null says nothing. Tables in it become lists of pairs in the
/// file's order: of patterns the first that matches counts.
///
/// **Errors** [`Error::Format`] for text that is no YAML, or no table.
pub(super) fn table(text: &str, path: &str) -> Result<toml::Table> {
    let bad = |why: String| Error::format(path, "content", why);
    let documents = Yaml::load_from_str(text).map_err(|e| bad(e.to_string()))?;
    match documents.as_slice() {
        [] | [Yaml::Value(Scalar::Null)] => Ok(toml::Table::new()),
        [Yaml::Mapping(all)] => all
            .iter()
            .filter_map(|(key, value)| {
                let name = key.as_str().ok_or_else(|| bad(format!("{key:?} is no name")));
                let value = toml(value).map_err(&bad).transpose()?;
                Some(name.and_then(|name| Ok((name.to_owned(), value?))))
            })
            .collect(),
        _ => Err(bad("is no table of names and values".into())),
    }
}

/// A value; `None` for null.
fn toml(value: &Yaml<'_>) -> Result<Option<Value>, String> {
    let all = |list: Vec<Result<Option<Value>, String>>| {
        list.into_iter().filter_map(Result::transpose).collect::<Result<Vec<_>, _>>()
    };
    Ok(Some(match value {
        Yaml::Value(Scalar::Null) => return Ok(None),
        Yaml::Value(Scalar::Boolean(b)) => Value::Boolean(*b),
        Yaml::Value(Scalar::Integer(n)) => Value::Integer(*n),
        Yaml::Value(Scalar::FloatingPoint(x)) => Value::Float(x.into_inner()),
        Yaml::Value(Scalar::String(text)) => Value::String(text.to_string()),
        Yaml::Sequence(list) => Value::Array(all(list.iter().map(toml).collect())?),
        Yaml::Mapping(table) => Value::Array(all(table
            .iter()
            .map(|(key, value)| {
                let pair = all(vec![toml(key), toml(value)])?;
                Ok((pair.len() == 2).then_some(Value::Array(pair)))
            })
            .collect())?),
        other => return Err(format!("{other:?} is neither a value nor a list or table")),
    }))
}

#[cfg(test)]
mod tests {
    use crate::train::config::TrainConfig;

    #[test]
    fn yaml_says_what_toml_says() {
        let text = "# a run\nmodel: models/llama\nlearning_rate: 1e-4\nr: 8\nmax_steps: null\nload_in_4bit: true\n\
                    target_modules: [v_proj, q_proj]\nrank_pattern:\n  v_proj: 2\n  layers.*: 1\nreport_to: none\n";
        let config = TrainConfig::default().overlay_table(super::table(text, "x").unwrap(), "x");
        let toml = "model = \"models/llama\"\nlearning_rate = 1e-4\nrank = 8\nquant = \"nf4\"\n\
                    target_modules = \"v_proj,q_proj\"\nrank_pattern = {v_proj = 2, \"layers.*\" = 1}";
        assert_eq!(config.unwrap(), TrainConfig::from_toml(toml, "x").unwrap());
        assert!(super::table("", "x").unwrap().is_empty());
        for (text, part) in [("- a\n- b", "no table"), ("a: [1", "x")] {
            let why = super::table(text, "x").unwrap_err().to_string();
            assert!(why.contains(part), "{why}");
        }
    }
}
