//! Matrix units: which an adapter has, and which of them bodies run on.

use std::fmt;

/// A product that matrix units make: `(M, K)` by `(K, N)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct MatrixUnit {
    /// Rows of the product.
    pub m: u32,
    /// Columns of the product.
    pub n: u32,
    /// Terms of a sum.
    pub k: u32,
    /// The type of what is multiplied: f16, f32, i32, u32.
    pub factors: &'static str,
    /// The type of the sums.
    pub sums: &'static str,
}

impl MatrixUnit {
    /// Those that wgpu knows of.
    pub(super) fn of(adapter: &wgpu::Adapter) -> Vec<MatrixUnit> {
        use wgpu::CooperativeScalarType::{F16, F32, I32, U32};
        let name = |scalar| match scalar {
            F16 => "f16",
            F32 => "f32",
            I32 => "i32",
            U32 => "u32",
        };
        let needs = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX | wgpu::Features::SUBGROUP;
        let mut all: Vec<MatrixUnit> = Vec::new();
        if !adapter.features().contains(needs) {
            return all;
        }
        for unit in adapter.cooperative_matrix_properties() {
            let (m, n, k) = (unit.m_size, unit.n_size, unit.k_size);
            let unit =
                MatrixUnit { m, n, k, factors: name(unit.ab_type), sums: name(unit.cr_type) };
            // Listed again where sums saturate.
            if !all.contains(&unit) {
                all.push(unit);
            }
        }
        all
    }

    /// The module that has a body run on it, if there is one.
    fn module(&self) -> Option<&'static str> {
        match ([self.m, self.n, self.k], self.factors, self.sums) {
            ([16, 16, 16], "f16", "f32") => Some("unit_f16_16"),
            ([8, 8, 8], "f16", "f32") => Some("unit_f16_8"),
            ([8, 8, 8], "f32", "f32") => Some("unit_f32_8"),
            _ => None,
        }
    }
}

impl fmt::Display for MatrixUnit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MatrixUnit { m, n, k, factors, sums } = self;
        write!(f, "{m} x {n} x {k}, {factors} into {sums}")
    }
}

/// The matrix units that bodies run on, by the modules that say their size and types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Units {
    /// For any operation.
    pub f32: Option<&'static str>,
    /// For those that allow 16 bits: the larger ones, where there are several.
    pub f16: Option<&'static str>,
}

impl Units {
    /// Those of an adapter that has all of these, and perhaps 16-bit floats in shaders.
    pub(super) fn of(all: &[MatrixUnit], f16: bool) -> Units {
        let of = |factors: &str| {
            let units = all.iter().filter(|unit| unit.factors == factors);
            units.filter_map(|unit| Some((unit.m, unit.module()?))).max().map(|(_, module)| module)
        };
        Units { f32: of("f32"), f16: of("f16").filter(|_| f16) }
    }

    /// Those for an operation that allows 16 bits, or does not.
    pub(super) fn module(self, half: bool) -> Option<&'static str> {
        self.f16.filter(|_| half).or(self.f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit([m, n, k]: [u32; 3], factors: &'static str, sums: &'static str) -> MatrixUnit {
        MatrixUnit { m, n, k, factors, sums }
    }

    #[test]
    fn the_largest_units_of_each_type_run() {
        let apple =
            [unit([8; 3], "f32", "f32"), unit([8; 3], "f16", "f16"), unit([8; 3], "f16", "f32")];
        let units = Units::of(&apple, true);
        assert_eq!(units, Units { f32: Some("unit_f32_8"), f16: Some("unit_f16_8") });
        assert_eq!([true, false].map(|half| units.module(half)), [units.f16, units.f32]);
        assert_eq!(Units::of(&apple, false).module(true), Some("unit_f32_8"));

        let both = Units::of(&[unit([8; 3], "f16", "f32"), unit([16; 3], "f16", "f32")], true);
        assert_eq!(both, Units { f32: None, f16: Some("unit_f16_16") });
        assert_eq!(both.module(false), None, "f32 never comes from f16");

        let intel = [unit([8, 16, 16], "f16", "f32")];
        assert_eq!(Units::of(&intel, true), Units::default());
    }
}
