/** Limits of machines as their makers publish them: 16-bit matrix products without sparsity, and memory. */

import type { Num } from "../../data/types.ts";

export interface Device {
  id: string;
  name: string;
  flops: Num;
  bandwidth: Num;
}

function published(id: string, name: string, teraflops: number, gigabytes: number, source: string, note: string): Device {
  return {
    id,
    name,
    flops: { value: teraflops * 1e12, unit: "FLOP/s", kind: "published", source, note },
    bandwidth: { value: gigabytes * 1e9, unit: "B/s", kind: "published", source },
  };
}

const DENSE = "16-bit tensor cores; half of the figure that is printed with sparsity";

export const DEVICES: Device[] = [
  published("a100", "NVIDIA A100 80GB SXM", 312, 2039, "nvidia.com, A100 datasheet", "16-bit tensor cores"),
  published("h100", "NVIDIA H100 SXM", 989.5, 3350, "nvidia.com, H100 datasheet", DENSE),
  published("h200", "NVIDIA H200 SXM", 989.5, 4800, "nvidia.com, H200 datasheet", DENSE),
  published("l4", "NVIDIA L4", 121, 300, "nvidia.com, L4 datasheet", DENSE),
];
