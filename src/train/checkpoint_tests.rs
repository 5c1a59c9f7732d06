use super::*;
use std::fs;

fn floats(tensor: &NamedTensor) -> &[f32] {
    match &tensor.data {
        Values::F32(data) => data,
        Values::U8(_) => &[],
    }
}

fn tensor(name: &str, data: &[f32]) -> NamedTensor {
    NamedTensor { name: name.into(), shape: vec![1, data.len()], data: Values::F32(data.to_vec()) }
}

fn state(step: u64) -> CheckpointState {
    CheckpointState {
        step,
        position: Position { seed: 42, epoch: 1, index: 8 },
        settings: "s".into(),
        variants: [("matmul_nt".to_string(), "f32+workgroup".to_string())].into(),
        best_eval_loss: Some(0.1 + 0.2),
        metrics_bytes: 123,
        ..CheckpointState::default()
    }
}

fn files() -> Vec<NamedBytes> {
    let adapter =
        encode_tensors(&[tensor("b", &[1.0, f32::MIN_POSITIVE / 2.0]), tensor("a", &[-0.0])]);
    vec![
        ("adapter_model.safetensors".into(), adapter.unwrap()),
        ("adapter_config.json".into(), b"{}".to_vec()),
    ]
}

#[test]
fn codes_of_eight_bits_come_back() {
    let codes =
        NamedTensor { name: "c".into(), shape: vec![3], data: Values::U8(vec![0, 127, 255]) };
    let bytes = encode_tensors(&[codes.clone(), tensor("x", &[1.5])]).unwrap();
    assert_eq!(decode_tensors(&bytes, Path::new("x")).unwrap(), [codes, tensor("x", &[1.5])]);
}

#[test]
fn a_checkpoint_comes_back_bit_for_bit() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), &state(7), &files()).unwrap();
    assert_eq!(path, dir.path().join("checkpoints/step-7"));
    let (found, passed_over) = latest(dir.path()).unwrap();
    let found = found.unwrap();
    assert!(passed_over.is_empty());
    assert_eq!(found.state, state(7));
    let tensors = found.tensors("adapter_model.safetensors").unwrap();
    assert_eq!(tensors[0].name, "a");
    assert_eq!(floats(&tensors[0])[0].to_bits(), (-0.0f32).to_bits());
    assert_eq!(floats(&tensors[1])[1].to_bits(), (f32::MIN_POSITIVE / 2.0).to_bits());
    assert_eq!(tensors[1].shape, [1, 2]);
    assert_eq!(found.file("adapter_config.json").unwrap(), b"{}");
    assert!(found.file("nothing").is_err());
}

#[test]
fn floats_keep_their_last_bit_and_odd_values() {
    for x in [0.1 + 0.2, 5e-324, f64::MAX, 2.4703282292062327e-17, f64::INFINITY] {
        let state = CheckpointState { best_eval_loss: Some(x), seconds: Some(x / 3.0), ..state(1) };
        let text = serde_json::to_string(&state).unwrap();
        let back: CheckpointState = serde_json::from_str(&text).unwrap();
        assert_eq!(back, state, "{text}");
    }
    let none = CheckpointState::default();
    assert_eq!(
        serde_json::from_str::<CheckpointState>(&serde_json::to_string(&none).unwrap()).unwrap(),
        none
    );
}

#[test]
fn equal_tensors_give_equal_bytes_in_any_order() {
    let (a, b) = (tensor("a", &[1.0]), tensor("b", &[2.0]));
    assert_eq!(
        encode_tensors(&[a.clone(), b.clone()]).unwrap(),
        encode_tensors(&[b, a.clone()]).unwrap()
    );
    assert!(encode_tensors(&[a.clone(), a.clone()]).is_err());
    assert!(encode_tensors(&[NamedTensor { shape: vec![2], ..a }]).is_err());
}

#[test]
fn damaged_tensor_files_are_errors() {
    let good = &files()[0].1;
    let path = Path::new("t.safetensors");
    for cut in [0, 4, 20, good.len() - 1] {
        assert!(
            decode_tensors(&good[..cut], path).unwrap_err().to_string().contains("t.safetensors")
        );
    }
    let view = TensorView::new(Dtype::F16, vec![1], &[0, 0]).unwrap();
    let half = safetensors::serialize([("h", view)], None).unwrap();
    assert!(decode_tensors(&half, path).unwrap_err().to_string().contains("`h`"));
}

#[test]
fn the_newest_by_number_wins_and_leftovers_are_ignored() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(latest(dir.path()).unwrap().0, None);
    for step in [9, 100, 20] {
        write(dir.path(), &state(step), &files()).unwrap();
    }
    for odd in [".tmp-write-step-300", "step-0400", "step-x", "other"] {
        fs::create_dir(folder(dir.path()).join(odd)).unwrap();
    }
    fs::write(folder(dir.path()).join("step-500"), b"a file").unwrap();
    assert_eq!(latest(dir.path()).unwrap().0.unwrap().state.step, 100);
    assert_eq!(list(dir.path()).unwrap().iter().map(|s| s.0).collect::<Vec<_>>(), [9, 20, 100]);
}

#[test]
fn every_kind_of_damage_is_noticed_and_passed_over() {
    type Damage = fn(&Path);
    let kinds: [(&str, Damage); 6] = [
        ("missing file", |p| fs::remove_file(p.join("adapter_config.json")).unwrap()),
        ("missing state", |p| fs::remove_file(p.join(STATE)).unwrap()),
        ("cut", |p| fs::write(p.join("adapter_model.safetensors"), b"short").unwrap()),
        ("flipped bit", |p| {
            let p = p.join("adapter_model.safetensors");
            let mut bytes = fs::read(&p).unwrap();
            *bytes.last_mut().unwrap() ^= 1;
            fs::write(&p, bytes).unwrap();
        }),
        ("cut state", |p| fs::write(p.join(STATE), b"{\"version\": 1, \"st").unwrap()),
        ("newer layout", |p| fs::write(p.join(STATE), b"{\"version\": 3}").unwrap()),
    ];
    for (kind, damage) in kinds {
        let dir = tempfile::tempdir().unwrap();
        write(dir.path(), &state(1), &files()).unwrap();
        let newest = write(dir.path(), &state(2), &files()).unwrap();
        damage(&newest);
        let (found, passed_over) = latest(dir.path()).unwrap();
        assert_eq!(found.unwrap().state.step, 1, "{kind}");
        assert!(
            passed_over.len() == 1 && passed_over[0].contains("step-2"),
            "{kind}: {passed_over:?}"
        );
        // A resumed run comes to this step again.
        write(dir.path(), &state(2), &files()).unwrap();
        assert_eq!(latest(dir.path()).unwrap().0.unwrap().state.step, 2, "{kind}");
        damage(&newest);
        fs::remove_dir_all(folder(dir.path()).join("step-1")).unwrap();
        let message = latest(dir.path()).unwrap_err().to_string();
        assert!(message.contains("Delete them"), "{kind}: {message}");
    }
}

#[test]
fn a_folder_renamed_by_hand_is_not_another_step() {
    let dir = tempfile::tempdir().unwrap();
    let path = write(dir.path(), &state(2), &files()).unwrap();
    fs::rename(&path, path.with_file_name("step-5")).unwrap();
    assert!(latest(dir.path()).is_err());
}

#[test]
fn pruning_keeps_the_newest() {
    let dir = tempfile::tempdir().unwrap();
    for step in [1, 2, 10] {
        write(dir.path(), &state(step), &files()).unwrap();
    }
    let steps = || list(dir.path()).unwrap().iter().map(|s| s.0).collect::<Vec<_>>();
    assert_eq!(prune(dir.path(), 5).unwrap(), 0);
    assert_eq!(prune(dir.path(), 2).unwrap(), 1);
    assert_eq!(steps(), [2, 10]);
    assert_eq!(prune(dir.path(), 0).unwrap(), 1);
    assert_eq!(steps(), [10]);
    assert_eq!(remove_after(dir.path(), 10).unwrap(), 0);
    assert_eq!(remove_after(dir.path(), 9).unwrap(), 1);
    assert_eq!(durable::entries(&folder(dir.path())).unwrap(), Vec::<PathBuf>::new());
}

#[test]
fn file_names_are_checked() {
    let dir = tempfile::tempdir().unwrap();
    for name in [STATE, "../escape", "sub/file"] {
        assert!(write(dir.path(), &state(1), &[(name.into(), vec![])]).is_err(), "{name}");
    }
    assert_eq!(latest(dir.path()).unwrap().0, None);
}

/// Not a test of its own: the process that [`kill_at_any_moment`] kills.
#[test]
fn child_that_writes_for_ever() {
    let Some(dir) = std::env::var_os("WGPU_LORA_TEST_CHECKPOINT_DIR") else { return };
    let dir = PathBuf::from(dir);
    let first = latest(&dir).unwrap().0.map_or(1, |c| c.state.step + 1);
    for step in first.. {
        let data = vec![step as f32; 20_000];
        let bytes = encode_tensors(&[tensor("w", &data)]).unwrap();
        let files: Vec<NamedBytes> =
            (0..4).map(|i| (format!("{i}.safetensors"), bytes.clone())).collect();
        write(&dir, &state(step), &files).unwrap();
        prune(&dir, 2).unwrap();
    }
}

#[test]
fn kill_at_any_moment() {
    let dir = tempfile::tempdir().unwrap();
    let mut last = 0;
    for round in 0..12u64 {
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "train::checkpoint::tests::child_that_writes_for_ever"])
            .env("WGPU_LORA_TEST_CHECKPOINT_DIR", dir.path())
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Once it has got further than the round before, at no particular moment.
        let start = std::time::Instant::now();
        let newest = || list(dir.path()).unwrap().last().map_or(0, |(step, _)| *step);
        while newest() <= last && start.elapsed().as_secs() < 60 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        std::thread::sleep(std::time::Duration::from_micros(round * 1700));
        child.kill().unwrap();
        child.wait().unwrap();
        let (found, passed_over) = latest(dir.path()).unwrap();
        assert!(passed_over.is_empty(), "{passed_over:?}");
        let found = found.unwrap();
        assert!(found.state.step > last, "round {round}: a checkpoint was lost, or none written");
        last = found.state.step;
        for i in 0..4 {
            let tensors = found.tensors(&format!("{i}.safetensors")).unwrap();
            assert!(
                floats(&tensors[0]).len() == 20_000
                    && floats(&tensors[0]).iter().all(|&x| x == last as f32)
            );
        }
        durable::clean(&folder(dir.path())).unwrap();
        // Whatever was killed before it pruned, the next one prunes.
        prune(dir.path(), 2).unwrap();
        assert!(list(dir.path()).unwrap().len() <= 2);
    }
}
