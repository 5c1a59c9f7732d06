//! A whole weight matrix in NF4, and the quantizer that makes one piece by piece.

use std::ops::Range;

use super::{NF4_BLOCK, dequantize, dequantize_scales, dynamic8_code, quantize, quantize_scales};
use crate::error::{Error, Result};

/// A `(rows, cols)` weight in NF4, row-major, laid out as bitsandbytes stores it.
#[derive(Clone, Debug, PartialEq)]
pub struct Nf4Matrix {
    /// Output features of a linear layer.
    pub rows: usize,
    /// Input features of a linear layer.
    pub cols: usize,
    /// `⌈rows·cols / 2⌉` bytes, two codes each, the first in the HIGH nibble.
    pub packed: Vec<u8>,
    /// One scale for each block of 64 values of the flattened matrix.
    pub scales: Nf4Scales,
}

/// The block scales of an [`Nf4Matrix`].
#[derive(Clone, Debug, PartialEq)]
pub enum Nf4Scales {
    /// As they are.
    Single {
        /// `(⌈n/64⌉)`.
        absmax: Vec<f32>,
    },
    /// Quantized to 8 bits themselves:
    /// `absmax[b] = code_book[codes[b]] · nested_absmax[b/256] + offset`.
    Double {
        /// `(⌈n/64⌉)`.
        codes: Vec<u8>,
        /// `(⌈n/64/256⌉)`.
        nested_absmax: Vec<f32>,
        /// The mean of all scales.
        offset: f32,
        /// `(256)`, see [`dynamic8_code`].
        code_book: Vec<f32>,
    },
}

impl Nf4Matrix {
    /// Quantizes a row-major `(rows, cols)` matrix, with double quantization of the scales if
    /// `double`.
    ///
    /// **Errors** [`Error::Shape`] if `values` does not hold `rows · cols` numbers,
    /// [`Error::Invalid`] if one of them is NaN or infinite.
    pub fn quantize(rows: usize, cols: usize, values: &[f32], double: bool) -> Result<Self> {
        let mut quantizer = Nf4Quantizer::new(rows, cols)?;
        quantizer.push(values)?;
        quantizer.finish(double)
    }

    /// The scales as `f32`, restored if they were quantized: `(⌈n/64⌉)`.
    pub fn absmax(&self) -> Vec<f32> {
        match &self.scales {
            Nf4Scales::Single { absmax } => absmax.clone(),
            Nf4Scales::Double { codes, nested_absmax, offset, code_book } => {
                dequantize_scales(codes, nested_absmax, *offset, code_book)
            }
        }
    }

    /// All `rows · cols` values: `NF4_CODE[code] · absmax`.
    pub fn dequantize(&self) -> Vec<f32> {
        self.dequantize_rows(0..self.rows)
    }

    /// The values of some rows, row-major; rows past the end are left out.
    pub fn dequantize_rows(&self, rows: Range<usize>) -> Vec<f32> {
        let end = rows.end.min(self.rows);
        let start = rows.start.min(end);
        let mut out = vec![0.0; (end - start) * self.cols];
        dequantize(&self.packed, &self.absmax(), start * self.cols, &mut out);
        out
    }

    /// Bytes of codes and scales together.
    pub fn bytes(&self) -> usize {
        self.packed.len()
            + match &self.scales {
                Nf4Scales::Single { absmax } => absmax.len() * 4,
                Nf4Scales::Double { codes, nested_absmax, code_book, .. } => {
                    codes.len() + (nested_absmax.len() + code_book.len() + 1) * 4
                }
            }
    }
}

/// Quantizes a matrix that arrives in pieces of any length, so that it never has to be in memory as
/// `f32`.
///
/// The result does not depend on how the matrix was cut.
#[derive(Debug)]
pub struct Nf4Quantizer {
    rows: usize,
    cols: usize,
    values: usize,
    packed: Vec<u8>,
    absmax: Vec<f32>,
    /// The start of a block whose rest has not arrived.
    open: Vec<f32>,
    received: usize,
}

impl Nf4Quantizer {
    /// Starts a row-major `(rows, cols)` matrix.
    ///
    /// **Errors** [`Error::Invalid`] if `rows · cols` does not fit in memory.
    pub fn new(rows: usize, cols: usize) -> Result<Self> {
        let values = rows.checked_mul(cols).filter(|n| *n < isize::MAX as usize / 4);
        let values = values
            .ok_or_else(|| Error::invalid(format!("NF4 matrix {rows} x {cols}"), "too large"))?;
        Ok(Self {
            rows,
            cols,
            values,
            packed: Vec::with_capacity(values.div_ceil(2)),
            absmax: Vec::with_capacity(values.div_ceil(NF4_BLOCK)),
            open: Vec::with_capacity(NF4_BLOCK),
            received: 0,
        })
    }

    /// Takes the next values in row-major order.
    ///
    /// **Errors** [`Error::Shape`] if there are more than `rows · cols`, [`Error::Invalid`] if one
    /// is NaN or infinite.
    pub fn push(&mut self, mut values: &[f32]) -> Result<()> {
        if values.len() > self.values - self.received {
            return Err(self.shape_error(self.received.saturating_add(values.len())));
        }
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            let at = self.received + at;
            return Err(Error::invalid(
                format!("weight [{}, {}]", at / self.cols, at % self.cols),
                "is NaN or infinite and cannot be quantized: the checkpoint is damaged",
            ));
        }
        self.received += values.len();
        if !self.open.is_empty() {
            let (head, rest) = values.split_at(values.len().min(NF4_BLOCK - self.open.len()));
            self.open.extend_from_slice(head);
            values = rest;
            if self.open.len() < NF4_BLOCK {
                return Ok(());
            }
            let open = std::mem::take(&mut self.open);
            self.append(&open);
        }
        let (blocks, rest) = values.split_at(values.len() / NF4_BLOCK * NF4_BLOCK);
        self.append(blocks);
        self.open.extend_from_slice(rest);
        Ok(())
    }

    /// Quantizes the last block, and the scales if `double`.
    ///
    /// **Errors** [`Error::Shape`] if values are missing.
    pub fn finish(mut self, double: bool) -> Result<Nf4Matrix> {
        if self.received != self.values {
            return Err(self.shape_error(self.received));
        }
        let open = std::mem::take(&mut self.open);
        self.append(&open);
        let Self { rows, cols, packed, absmax, .. } = self;
        let scales = if double {
            let code_book = dynamic8_code(true);
            let (codes, nested_absmax, offset) = quantize_scales(&absmax, &code_book);
            Nf4Scales::Double { codes, nested_absmax, offset, code_book }
        } else {
            Nf4Scales::Single { absmax }
        };
        Ok(Nf4Matrix { rows, cols, packed, scales })
    }

    fn append(&mut self, values: &[f32]) {
        let (packed, absmax) = quantize(values);
        self.packed.extend_from_slice(&packed);
        self.absmax.extend_from_slice(&absmax);
    }

    fn shape_error(&self, got: usize) -> Error {
        Error::Shape {
            op: "NF4 quantization".into(),
            tensor: "weight".into(),
            expected: format!("{} values for {} x {}", self.values, self.rows, self.cols),
            got: format!("{got} values"),
        }
    }
}
