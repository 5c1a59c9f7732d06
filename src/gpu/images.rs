//! Operands that a body reads from images instead of storage buffers. llvmpipe on a processor
//! without AVX-512 makes of a load from a storage buffer a loop over the lanes that takes 15 cycles
//! a component and lane; of one from an image it takes two or three. So an operand is copied to an
//! image right before the dispatch, in which its sixteen-byte words lie one after the other, and
//! the body's text is changed where it loads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use super::lock::lock;
use super::select::FromImage;
use super::{form, number};

/// Texels of four words in a row of an image.
const WIDTH: usize = 1024;

/// Images that a body may read: as many as WebGPU promises.
pub(super) const MOST: usize = 4;

/// Every image holds words; floats are cast from them.
pub(super) const FORMAT: wgpu::TextureFormat = wgpu::TextureFormat::Rgba32Uint;

/// The text of a body, or of a module that goes with it, that loads from images what is a storage
/// buffer's in `text`.
pub(super) fn loaded(text: &str, images: &[FromImage]) -> String {
    let put = |text: String, image: &FromImage| {
        indexed(&declared(&text, image.name, image.binding), image.name)
    };
    images.iter().fold(text.to_owned(), put)
}

/// With an image in place of the buffer `name`, or beside one that is written to, on the same line.
fn declared(text: &str, name: &str, binding: usize) -> String {
    let is_it = |line: &&str| form::binding(line).is_some_and(|(_, found, _)| found == name);
    let Some(line) = text.lines().find(is_it) else { return text.to_owned() };
    let (buffer, image) = match line.contains("read_write") {
        true => (format!("{} ", line.split_inclusive(';').next().unwrap_or_default()), "before_"),
        false => (String::new(), ""),
    };
    let image = format!("{image}{name}");
    let at = format!("textureLoad({image}, vec2u(i % {WIDTH}u, i / {WIDTH}u))");
    let (kind, value) = match line.contains("vec4f") || line.contains("<Element>") {
        true => ("vec4f", format!("bitcast<vec4f>({at})")),
        false => ("vec4u", at),
    };
    let image = format!(
        "{buffer}@group(0) @binding({binding}) var {image}: texture_storage_2d<rgba32uint, read>; \
         fn load_{name}(i: u32) -> {kind} {{ return {value}; }}"
    );
    text.replace(line, &image)
}

/// With `load_name(i)` for every `name[i]` that is not stored to.
fn indexed(text: &str, name: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    let index = format!("{name}[");
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(&index) {
        let (before, behind) = (&rest[..at], &rest[at + index.len()..]);
        out.push_str(before);
        rest = behind;
        if before.ends_with(is_word) {
            out.push_str(&index);
            continue;
        }
        let mut depth = 1;
        let end = behind.find(|c| {
            depth += i32::from(c == '[') - i32::from(c == ']');
            depth == 0
        });
        let (inner, after) = behind.split_at(end.unwrap_or(behind.len()));
        rest = after.strip_prefix(']').unwrap_or(after);
        let inner = indexed(inner, name);
        match rest.starts_with(" = ") {
            true => out.push_str(&format!("{index}{inner}]")),
            false => out.push_str(&format!("load_{name}({inner})")),
        }
    }
    out + rest
}

/// Rows of an image with room for `words`: odd and at least three. llvmpipe compiles a kernel for
/// images whose height is a power of two and once more for others, so that none may be one.
fn rows(words: usize) -> usize {
    (words / 4).div_ceil(WIDTH).max(3) | 1
}

/// Bytes of an image with room for an operand of `words`.
pub fn image_bytes(words: usize) -> u64 {
    16 * (WIDTH * rows(words)) as u64
}

/// An image on the device, in which operands of many dispatches lie one after the other.
pub(super) struct Image {
    pub(super) id: u64,
    texture: wgpu::Texture,
    pub(super) view: wgpu::TextureView,
}

impl Image {
    fn new(device: &wgpu::Device, rows: usize) -> Image {
        let size = [WIDTH, rows].map(|n| n as u32);
        let texture = device.create_texture(&wgpu::TextureDescriptor {
            label: Some("operand"),
            size: wgpu::Extent3d { width: size[0], height: size[1], depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: FORMAT,
            usage: wgpu::TextureUsages::STORAGE_BINDING | wgpu::TextureUsages::COPY_DST,
            view_formats: &[],
        });
        let view = texture.create_view(&Default::default());
        Image { id: number::fresh(), texture, view }
    }

    fn rows(&self) -> usize {
        self.texture.height() as usize
    }
}

/// A device's images, one for each of those that a body reads; each grows to the largest operand.
pub(super) struct Images {
    slots: [Mutex<Option<Arc<Image>>>; MOST],
    most_rows: usize,
}

impl Images {
    /// None yet, on a device whose images have at most so many rows.
    pub(super) fn new(most_rows: u32) -> Images {
        Images { slots: Default::default(), most_rows: most_rows as usize }
    }

    /// Whether an operand fits.
    pub(super) fn have_room(&self, words: usize) -> bool {
        rows(words) <= self.most_rows
    }

    /// Bytes of all.
    pub(super) fn bytes(&self) -> u64 {
        let image = |slot: &Mutex<Option<Arc<Image>>>| slot.lock().ok()?.clone();
        let bytes = |image: Arc<Image>| image_bytes(4 * WIDTH * image.rows());
        self.slots.iter().filter_map(image).map(bytes).sum()
    }

    /// The image number `slot` with room for `words`, and the number of the one that it replaces.
    pub(super) fn image(
        &self,
        device: &wgpu::Device,
        slot: usize,
        words: usize,
    ) -> (Arc<Image>, Option<u64>) {
        let mut held = lock(&self.slots[slot]);
        if let Some(image) = held.as_ref().filter(|image| image.rows() >= rows(words)) {
            return (image.clone(), None);
        }
        let image = Arc::new(Image::new(device, rows(words)));
        let old = held.replace(image.clone());
        (image, old.map(|old| old.id))
    }
}

/// What a dispatch reads from an image.
pub(super) struct Operand {
    /// The image's binding.
    pub(super) binding: usize,
    /// Where it lies for everyone else.
    pub(super) buffer: wgpu::Buffer,
    /// The buffer's number, the first word, words.
    pub(super) place: (u64, usize, usize),
    /// Where the dispatch reads it.
    pub(super) image: Arc<Image>,
}

impl Operand {
    fn copy(&self, encoder: &mut wgpu::CommandEncoder) {
        let (_, first, words) = self.place;
        let (whole, rest) = (words / 4 / WIDTH, words / 4 % WIDTH);
        for (row, width, height) in [(0, WIDTH, whole), (whole, rest, 1)] {
            if width * height == 0 {
                continue;
            }
            let layout = wgpu::TexelCopyBufferLayout {
                offset: (4 * first + 16 * WIDTH * row) as u64,
                bytes_per_row: Some(16 * WIDTH as u32),
                rows_per_image: None,
            };
            let to = wgpu::TexelCopyTextureInfo {
                texture: &self.image.texture,
                mip_level: 0,
                origin: wgpu::Origin3d { x: 0, y: row as u32, z: 0 },
                aspect: wgpu::TextureAspect::All,
            };
            let (width, height) = (width as u32, height as u32);
            let size = wgpu::Extent3d { width, height, depth_or_array_layers: 1 };
            let from = wgpu::TexelCopyBufferInfo { buffer: &self.buffer, layout };
            encoder.copy_buffer_to_texture(from, to, size);
        }
    }
}

/// What lies in the images while a submission runs.
#[derive(Default)]
pub(super) struct Held(HashMap<u64, (u64, usize, usize)>);

impl Held {
    /// Of `operands` those that do not lie in their images.
    pub(super) fn lacking<'a>(&self, operands: &'a [Operand]) -> Vec<&'a Operand> {
        let lies = |operand: &&Operand| self.0.get(&operand.image.id) == Some(&operand.place);
        operands.iter().filter(|operand| !lies(operand)).collect()
    }

    /// Copies an operand to its image, unless it lies there.
    pub(super) fn copy(&mut self, operand: &Operand, encoder: &mut wgpu::CommandEncoder) {
        if self.0.insert(operand.image.id, operand.place) != Some(operand.place) {
            operand.copy(encoder);
        }
    }

    /// A dispatch has written to these buffers.
    pub(super) fn written(&mut self, buffers: &[u64]) {
        self.0.retain(|_, (buffer, ..)| !buffers.contains(buffer));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_no_image_holds_has_no_room() {
        let images = Images::new(8192);
        let row = 4 * WIDTH;
        assert!(images.have_room(0) && images.have_room(8191 * row));
        // 128 MiB, the largest shard, would take a power of two.
        assert!(!images.have_room(8192 * row));
        assert!(Images::new(16384).have_room(8192 * row));
    }

    #[test]
    fn loads_are_from_an_image_and_lines_stay() {
        let text = "@group(0) @binding(2) var<storage, read> w: array<vec4f>;  // (N, K)\n\
                    let a = w[row * (p.k / 8u) + index[1u]][2] * new_w[0] + w[u32(w[0u].x)].y;\n";
        let image = "@group(0) @binding(2) var w: texture_storage_2d<rgba32uint, read>; fn load_w(i: u32) -> vec4f \
                     { return bitcast<vec4f>(textureLoad(w, vec2u(i % 1024u, i / 1024u))); }\n\
                     let a = load_w(row * (p.k / 8u) + index[1u])[2] * new_w[0] + load_w(u32(load_w(0u).x)).y;\n";
        assert_eq!(indexed(&declared(text, "w", 2), "w"), image);
        let text = "@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;  // (N)\ny[i] = y[y[0].x] + 1.0;\n";
        let image = "@group(0) @binding(3) var<storage, read_write> y: array<vec4f>; @group(0) @binding(5) var before_y: \
                     texture_storage_2d<rgba32uint, read>; fn load_y(i: u32) -> vec4f { return bitcast<vec4f>(textureLoad(\
                     before_y, vec2u(i % 1024u, i / 1024u))); }\ny[i] = load_y(load_y(0).x) + 1.0;\n";
        assert_eq!(indexed(&declared(text, "y", 5), "y"), image);
    }
}
