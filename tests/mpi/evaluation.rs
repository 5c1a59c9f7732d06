//! `evaluate` and `predict` on two ranks give what one gives.

use serde_json::Value;

use crate::launch::{Place, succeeded};

#[test]
fn what_two_ranks_report_is_what_one_does() {
    let place = Place::new();
    let row = |i: usize| {
        let prompt =
            format!("What does this cost to the nearest dollar?\n\nTitle: Thing {i}\n\nPrice is $");
        format!("{}\n", serde_json::json!({"prompt": prompt, "completion": format!("{i}.00")}))
    };
    std::fs::write(place.path("test.jsonl"), (1..=13).map(row).collect::<String>()).unwrap();
    let report = |ranks: usize, task: &str, out: &str| {
        let words = format!(
            "evaluate --model model --data test.jsonl --batch-size 2 --task {task} --out {out}"
        );
        succeeded(place.ranks(ranks, &words).output().unwrap());
        let text = std::fs::read(place.path(out).join("report.json")).unwrap();
        let mut report: Value = serde_json::from_slice(&text).unwrap();
        let times = report.as_object_mut().unwrap();
        times.remove("seconds");
        let predictions = std::fs::read(place.path(out).join("predictions.jsonl")).unwrap();
        (report, predictions)
    };
    for task in ["price", "text"] {
        let [one, two] = [0, 2].map(|ranks| report(ranks, task, &format!("{task}-{ranks}")));
        assert_eq!(one.0, two.0, "{task}");
        // The same but for the folder that is named in the header.
        assert!(one.1 == two.1, "{task}");
    }
    let list = |ranks: usize| {
        let predict = "predict --json --model model --data test.jsonl --batch-size 2";
        succeeded(place.ranks(ranks, predict).output().unwrap())
    };
    let one = list(0);
    assert_eq!((one.lines().count(), &one), (13, &list(2)));
}
