//! Which of a machine's adapters a program takes.

use super::adapter::AdapterReport;

/// Best first: discrete, integrated, virtual, unknown, software; native backends before GL.
pub(super) fn rank(info: &wgpu::AdapterInfo) -> (u8, u8) {
    use wgpu::{Backend, DeviceType};
    let kind = match info.device_type {
        DeviceType::DiscreteGpu => 0,
        DeviceType::IntegratedGpu => 1,
        DeviceType::VirtualGpu => 2,
        DeviceType::Other => 3,
        DeviceType::Cpu => 4,
    };
    let backend = match info.backend {
        Backend::Metal | Backend::Vulkan => 0,
        Backend::Dx12 => 1,
        _ => 2,
    };
    (kind, backend)
}

/// The numbers of `all`, best first, that `wanted` leaves: an index, or part of a name without
/// regard to case.
pub(super) fn named(all: &[AdapterReport], wanted: Option<&str>) -> Vec<usize> {
    let Some(wanted) = wanted else { return (0..all.len()).collect() };
    if let Some(index) = wanted.parse().ok().filter(|index| *index < all.len()) {
        return vec![index];
    }
    let has = |i: &usize| all[*i].name.to_lowercase().contains(&wanted.to_lowercase());
    (0..all.len()).filter(has).collect()
}

/// Of those numbers every card once; software only where there is nothing else.
pub(super) fn once_each(all: &[AdapterReport], found: &[usize]) -> Vec<usize> {
    let software = found.iter().all(|i| all[*i].is_software());
    let mut cards: Vec<usize> = Vec::new();
    for &i in found.iter().filter(|i| all[**i].is_software() == software) {
        if !cards.iter().any(|card| all[*card].is_card_of(&all[i])) {
            cards.push(i);
        }
    }
    cards
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(name: &str, backend: &str, device: u32, pci: &str) -> AdapterReport {
        let kind = if name == "llvmpipe" { "Cpu" } else { "DiscreteGpu" };
        AdapterReport {
            name: name.into(),
            backend: backend.into(),
            kind: kind.into(),
            device,
            pci_bus_id: pci.into(),
            ..AdapterReport::default()
        }
    }

    #[test]
    fn every_card_is_there_once_and_software_where_there_is_nothing_else() {
        let all = [
            report("RX 7900", "Vulkan", 7, "0000:01:00.0"),
            report("RX 7900", "Vulkan", 7, "0000:02:00.0"),
            report("RX 7900 (another driver)", "Vulkan", 7, "0000:02:00.0"),
            report("RTX 4090", "Vulkan", 9, ""),
            report("RTX 4090", "Vulkan", 9, ""),
            report("NVIDIA RTX 4090", "Dx12", 9, ""),
            report("llvmpipe", "Vulkan", 0, ""),
        ];
        let of = |word: Option<&str>| once_each(&all, &named(&all, word));
        assert_eq!(of(None), [0, 1, 3, 4]);
        assert_eq!(of(Some("rtx")), [3, 4]);
        assert_eq!(of(Some("4090")), [3, 4]);
        assert_eq!(of(Some("4")), [4]);
        assert_eq!(of(Some("LLVM")), [6]);
        assert_eq!(of(Some("none")), [0; 0]);
        assert_eq!(once_each(&all[6..], &[0]), [0]);
    }
}
