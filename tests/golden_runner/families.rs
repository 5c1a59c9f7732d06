//! `families/<family>`: a tiny checkpoint of another family, and PEFT adapters on it, among them
//! some that differ by layer.

use super::judge::{Case, Outcome};
use super::set::{Inputs, Set};
use super::{base, devices, forward, lora};
use wgpu_lora::model::Quant;

pub fn cases(set: &Set) -> Outcome<Vec<Case>> {
    let mut cases = Vec::new();
    for family in set.folders("families")? {
        let folder = format!("families/{family}");
        let (here, place) = (set.clone(), folder.clone());
        cases.push(Case::new(folder.clone(), move |judge| {
            let file = here.open(&format!("{place}/forward_f32.safetensors"))?;
            let inputs = Inputs::read(&file)?;
            devices::each(judge, |judge, device| {
                let quant = Quant::None;
                let model =
                    base::load_folder(&device.gpu, &here, &place, "config.json", quant, inputs.t)?;
                let space = model.workspace(base::whole(inputs.b, inputs.t), None)?;
                forward::compare(judge, &model, &space, &inputs, &file, "")
            })
        }));
        for adapter in set.folders(&folder)? {
            cases.push(lora::case(set, &folder, &format!("{folder}/{adapter}")));
        }
    }
    Ok(cases)
}
