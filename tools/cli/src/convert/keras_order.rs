//! The layers of a Keras model in the order in which data passes them.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::collections::HashMap;

/// A layer of the description.
#[derive(Clone, Debug)]
pub struct KerasLayer<'a> {
    pub name: &'a str,
    pub class: &'a str,
    pub config: &'a Value,
    /// Which of the model's layers of this class it is, in the list's order:
    /// `.keras` files name weights by it.
    pub nth_of_class: usize,
}

/// The layers of a Sequential model, or of a functional one that is a chain.
pub fn in_order(model: &Value) -> Result<Vec<KerasLayer<'_>>> {
    let class =
        model.get("class_name").and_then(Value::as_str).context("the model has no class_name")?;
    let config = model.get("config").context("the model has no config")?;
    let list = if config.is_array() { Some(config) } else { config.get("layers") };
    let list = list.and_then(Value::as_array).context("the model has no list of layers")?;
    let layers = read_layers(list)?;
    match class {
        "Sequential" => Ok(layers),
        "Functional" | "Model" => chain(list, layers),
        other => bail!(
            "models of the class {other} are not supported; supported are Sequential and functional models that are a chain"
        ),
    }
}

fn read_layers(list: &[Value]) -> Result<Vec<KerasLayer<'_>>> {
    let mut counts = HashMap::new();
    let mut layers = Vec::new();
    for layer in list {
        let class =
            layer.get("class_name").and_then(Value::as_str).context("a layer has no class_name")?;
        let config = layer
            .get("config")
            .with_context(|| format!("a layer of the class {class} has no config"))?;
        let name = [config.get("name"), layer.get("name")];
        let name = name.into_iter().flatten().find_map(Value::as_str);
        let name = name.with_context(|| format!("a layer of the class {class} has no name"))?;
        let count = counts.entry(class).or_insert(0);
        layers.push(KerasLayer { name, class, config, nth_of_class: *count });
        *count += 1;
    }
    Ok(layers)
}

/// Follows the only path through a functional model.
fn chain<'a>(list: &'a [Value], layers: Vec<KerasLayer<'a>>) -> Result<Vec<KerasLayer<'a>>> {
    let mut after: HashMap<&str, usize> = HashMap::new();
    let mut start = None;
    for (i, layer) in layers.iter().enumerate() {
        let mut from = Vec::new();
        inbound(list[i].get("inbound_nodes").unwrap_or(&Value::Null), &mut from);
        match from[..] {
            [] => {
                ensure!(start.is_none(), "the model has several inputs, and one is supported");
                start = Some(i);
            }
            [one] => {
                let other = after.insert(one, i);
                ensure!(
                    other.is_none(),
                    "the output of the layer {one} goes to two layers, and only chains are supported"
                );
            }
            _ => bail!(
                "the layer {} joins several inputs, and only chains of layers are supported",
                layer.name
            ),
        }
    }
    let mut order = vec![start.context("the model has no input")?];
    while let Some(&next) = order.last().and_then(|&at| after.get(layers[at].name)) {
        order.push(next);
    }
    ensure!(order.len() == layers.len(), "the model is no single chain of layers");
    Ok(order.into_iter().map(|i| layers[i].clone()).collect())
}

/// The names of the layers that feed a layer: `[[["dense", 0, 0, {}]]]`, or in
/// Keras 3 objects with a `keras_history`.
fn inbound<'a>(value: &'a Value, names: &mut Vec<&'a str>) {
    match value {
        Value::Array(list) => match &list[..] {
            [Value::String(name), Value::Number(_), Value::Number(_), ..] => names.push(name),
            _ => list.iter().for_each(|v| inbound(v, names)),
        },
        Value::Object(map) => match map.get("keras_history") {
            Some(history) => inbound(history, names),
            None => map.values().for_each(|v| inbound(v, names)),
        },
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn names(model: &Value) -> Result<Vec<String>> {
        Ok(in_order(model)?.iter().map(|l| l.name.to_owned()).collect())
    }

    fn layer(name: &str, from: &Value) -> Value {
        json!({"class_name": "Dense", "config": {"name": name}, "inbound_nodes": from})
    }

    #[test]
    fn functional_models_are_followed() {
        let old = |from: &str| json!([[[from, 0, 0, {}]]]);
        let new = |from: &str| json!([{"args": [{"class_name": "__keras_tensor__", "config": {"shape": [null, 4], "keras_history": [from, 0, 0]}}], "kwargs": {}}]);
        for from in [&old as &dyn Fn(&str) -> Value, &new] {
            let list =
                json!([layer("c", &from("b")), layer("a", &json!([])), layer("b", &from("a"))]);
            let model = json!({"class_name": "Functional", "config": {"layers": list}});
            assert_eq!(names(&model).unwrap(), ["a", "b", "c"]);
            let fork =
                json!([layer("a", &json!([])), layer("b", &from("a")), layer("c", &from("a"))]);
            let model = json!({"class_name": "Model", "config": {"layers": fork}});
            assert!(names(&model).unwrap_err().to_string().contains("goes to two layers"));
        }
        let join = json!([
            layer("a", &json!([])),
            layer("b", &json!([[["a", 0, 0, {}], ["a", 0, 0, {}]]]))
        ]);
        let model = json!({"class_name": "Model", "config": {"layers": join}});
        assert!(names(&model).unwrap_err().to_string().contains("joins several"));
    }

    #[test]
    fn sequential_lists_come_in_two_forms() {
        let list = json!([layer("x", &json!(null)), layer("y", &json!(null))]);
        for config in [list.clone(), json!({"layers": list})] {
            let model = json!({"class_name": "Sequential", "config": config});
            let layers = in_order(&model).unwrap();
            assert_eq!(layers[1].name, "y");
            assert_eq!(layers[1].nth_of_class, 1);
        }
        assert!(in_order(&json!({"class_name": "Custom", "config": []})).is_err());
    }
}
