/** All views, in the order in which they are listed. */

import { view as blocks } from "./blocks/index.tsx";
import { view as mask } from "./mask/index.tsx";
import type { View } from "./view.ts";

export const views: View[] = [blocks, mask];
