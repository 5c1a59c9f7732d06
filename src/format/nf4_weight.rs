//! A linear layer's weight as NF4, whatever the checkpoint holds.

use super::checkpoint::Checkpoint;
use super::prequant::read_prequantized;
use crate::error::{Error, Result};
use crate::quant::{Nf4Matrix, Nf4Quantizer};

/// Elements read at once: 16 MiB as `f32`.
const PIECE: usize = 4 << 20;

/// Reads the `[rows, cols]` weight `name` as NF4: stored NF4 as it is, a plain tensor quantized
/// piece by piece, so that no more than 16 MiB of it are in memory as `f32`. `double` says whether
/// the scales of a plain tensor are quantized too; `read` gets the bytes of each piece.
///
/// **Errors** [`Error::Shape`], those of [`read_prequantized`], [`Checkpoint::read_f32`] and
/// [`Nf4Quantizer::push`].
pub fn read_nf4(
    checkpoint: &Checkpoint,
    name: &str,
    [rows, cols]: [usize; 2],
    double: bool,
    read: &mut dyn FnMut(u64),
) -> Result<Nf4Matrix> {
    if let Some(stored) = read_prequantized(checkpoint, name)? {
        let matrix = stored.matrix;
        if (matrix.rows, matrix.cols) != (rows, cols) {
            return Err(Error::Shape {
                op: checkpoint.file_of(name)?.name().into(),
                tensor: name.into(),
                expected: format!("[{rows}, {cols}] (from config.json)"),
                got: format!("[{}, {}] in its quantization state", matrix.rows, matrix.cols),
            });
        }
        read(matrix.bytes() as u64);
        return Ok(matrix);
    }
    let info = checkpoint.expect(name, &[rows, cols])?;
    let (elements, bytes) = (info.elements(), info.dtype.bytes() as u64);
    let mut quantizer = Nf4Quantizer::new(rows, cols)?;
    let mut start = 0;
    while start < elements {
        let end = elements.min(start + PIECE);
        let named = |e| match e {
            Error::Invalid { what, why } => {
                Error::format(checkpoint.name(), format!("`{name}`: {what}"), why)
            }
            other => other,
        };
        quantizer.push(&checkpoint.read_f32(name, start..end)?).map_err(named)?;
        read((end - start) as u64 * bytes);
        start = end;
    }
    quantizer.finish(double)
}
