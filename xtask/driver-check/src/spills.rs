//! What a body costs on a driver, in the names that Mesa's drivers use, and what it may spill.

use crate::statistics::Statistics;
use anyhow::{Context, Result};
use std::collections::BTreeMap;

/// Names of statistics; a driver has one of each row.
const REGISTERS: [&str; 4] = ["VGPRs", "Number of GPRs", "GPRs", "Registers used"];
const OCCUPANCY: [&str; 4] =
    ["Subgroups per SIMD", "Max warps/SM", "Threads", "Max Waves Per Core"];
/// What goes to memory and comes back, in the driver's unit; registers that move to other registers
/// do not count. Turnip's is its stores to private memory.
const SPILLS: [&str; 5] =
    ["Spilled SGPRs", "Spilled VGPRs", "Spills to memory", "Spills", "STP Count"];

/// The worst of a body's texts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cost {
    pub registers: u64,
    pub spills: u64,
    /// Of a processor's places for subgroups or threads, as the driver counts them.
    pub occupancy: u64,
}

impl Cost {
    /// What one pipeline's statistics say. `None`: names that are not known here.
    pub fn new(statistics: &Statistics) -> Option<Cost> {
        let number = |name: &&str| statistics.get(*name).map(|value| *value as u64);
        let spills: Vec<u64> = SPILLS.iter().filter_map(number).collect();
        Some(Cost {
            registers: REGISTERS.iter().find_map(number)?,
            spills: if spills.is_empty() { return None } else { spills.iter().sum() },
            occupancy: OCCUPANCY.iter().find_map(number)?,
        })
    }

    pub fn worse(self, other: Cost) -> Cost {
        Cost {
            registers: self.registers.max(other.registers),
            spills: self.spills.max(other.spills),
            occupancy: self.occupancy.min(other.occupancy),
        }
    }
}

/// How many spills the list allows each `kernel[body]` on one GPU. A line is the GPU, the body and
/// the number; `#` begins a comment.
pub fn allowed(list: &str, gpu: &str) -> Result<BTreeMap<String, u64>> {
    let mut allowed = BTreeMap::new();
    for line in list.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [] => {}
            [of, body, number] => {
                let number = number.parse().with_context(|| format!("`{line}`: {number}"))?;
                if of == gpu {
                    allowed.insert(body.to_string(), number);
                }
            }
            _ => anyhow::bail!("`{line}`: not `GPU kernel[body] SPILLS`"),
        }
    }
    Ok(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(statistics: &[(&str, f64)]) -> Option<Cost> {
        Cost::new(&statistics.iter().map(|&(name, value)| (name.to_string(), value)).collect())
    }

    #[test]
    fn drivers_names_are_understood() {
        let radv = [
            ("VGPRs", 96.0),
            ("Spilled SGPRs", 2.0),
            ("Spilled VGPRs", 3.0),
            ("Subgroups per SIMD", 8.0),
        ];
        assert_eq!(cost(&radv), Some(Cost { registers: 96, spills: 5, occupancy: 8 }));
        let nvk = [
            ("Number of GPRs", 80.0),
            ("Spills to memory", 0.0),
            ("Spills to reg", 9.0),
            ("Max warps/SM", 24.0),
        ];
        assert_eq!(cost(&nvk), Some(Cost { registers: 80, spills: 0, occupancy: 24 }));
        assert_eq!(cost(&[("VGPRs", 96.0), ("Subgroups per SIMD", 8.0)]), None);
    }

    #[test]
    fn the_worst_text_of_a_body_counts() {
        let (a, b) = (
            Cost { registers: 10, spills: 3, occupancy: 8 },
            Cost { registers: 20, spills: 0, occupancy: 4 },
        );
        assert_eq!(a.worse(b), Cost { registers: 20, spills: 3, occupancy: 4 });
    }

    #[test]
    fn the_list_is_of_one_gpu_and_broken_lines_are_errors() {
        let list = "# GPU body spills\napple-m1 a[workgroup] 69\nradv b[baseline] 4 # why\n";
        let allowed = super::allowed(list, "apple-m1").unwrap();
        assert_eq!(allowed.into_iter().collect::<Vec<_>>(), [("a[workgroup]".to_string(), 69)]);
        assert!(super::allowed("apple-m1 a[workgroup]", "x").is_err());
        assert!(super::allowed("apple-m1 a[workgroup] many", "x").is_err());
    }
}
