/** All views, in the order in which they are listed. */

import { view as blocks } from "./blocks/index.tsx";
import { view as chat } from "./chat/index.tsx";
import { view as compare } from "./compare/index.tsx";
import { view as denoise } from "./denoise/index.tsx";
import { view as loom } from "./loom/index.tsx";
import { view as mask } from "./mask/index.tsx";
import { view as router } from "./router/index.tsx";
import type { View } from "./view.ts";
import { view as whatif } from "./whatif/index.tsx";

export const views: View[] = [chat, blocks, mask, router, loom, denoise, whatif, compare];
