//! The browser's surface: classes in camelCase that call the library and nothing else.
//! `web/wgpu_lora.js` makes of them what a web developer expects.

mod args;
mod js;
mod model;
mod price;
mod prices;
mod source;
mod text;

use serde::Serialize;
use wasm_bindgen::prelude::*;

use crate::gpu::{AdapterReport, Gpu, GpuOptions, Policy};
use crate::kernels;

#[wasm_bindgen(start)]
fn start() {
    console_error_panic_hook::set_once();
}

/// Takes the function that renders chat templates: from a request's JSON to an answer's.
#[wasm_bindgen(js_name = setTemplateRenderer)]
pub fn set_template_renderer(render: js_sys::Function) {
    crate::format::set_template_renderer(move |request| {
        let answer = render.call1(&JsValue::NULL, &request.into());
        answer.ok().and_then(|text| text.as_string()).unwrap_or_default()
    });
}

/// An open device.
#[wasm_bindgen]
pub struct WasmGpu {
    gpu: Gpu,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GpuInfo<'a> {
    #[serde(flatten)]
    adapter: &'a AdapterReport,
    software: bool,
    subgroup: u32,
    variants: std::collections::BTreeMap<String, String>,
}

#[wasm_bindgen]
impl WasmGpu {
    /// Opens the browser's best adapter; `policy` is empty, `baseline`, or a variant to prefer,
    /// `memory` what the device may hold, bytes, where the caller knows it; `subgroups`: the caller
    /// has asked for them.
    pub async fn create(
        policy: String,
        memory: Option<f64>,
        subgroups: bool,
    ) -> Result<WasmGpu, JsValue> {
        let policy = Policy::named(&policy, kernels::ALL).map_err(js::error)?;
        let memory = memory.map(|bytes| bytes as u64);
        let options = GpuOptions { policy, memory, subgroups, ..Default::default() };
        let gpu = Gpu::with(options).await.map_err(js::error)?;
        Ok(WasmGpu { gpu })
    }

    /// Adapter, limits, and the kernel variants that follow.
    pub fn info(&self) -> Result<JsValue, JsValue> {
        let caps = self.gpu.caps();
        js::object(&GpuInfo {
            adapter: &caps.adapter,
            software: caps.software,
            subgroup: caps.subgroup().unwrap_or(0),
            variants: caps.variants(kernels::ALL),
        })
    }

    /// Whether the driver has given the device up.
    #[wasm_bindgen(js_name = isLost)]
    pub fn is_lost(&self) -> bool {
        self.gpu.is_lost()
    }
}
