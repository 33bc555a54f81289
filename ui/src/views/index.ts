/** All views, in the order in which they are listed. */

import { view as attention } from "./attention/index.tsx";
import { view as blocks } from "./blocks/index.tsx";
import { view as chat } from "./chat/index.tsx";
import { view as compare } from "./compare/index.tsx";
import { view as denoise } from "./denoise/index.tsx";
import { view as embedding } from "./embedding/index.tsx";
import { view as flash } from "./flash/index.tsx";
import { view as kv } from "./kv/index.tsx";
import { view as ledger } from "./ledger/index.tsx";
import { view as loom } from "./loom/index.tsx";
import { view as mask } from "./mask/index.tsx";
import { view as parameters } from "./parameters/index.tsx";
import { view as reasoning } from "./reasoning/index.tsx";
import { view as reference } from "./reference/index.tsx";
import { view as roofline } from "./roofline/index.tsx";
import { view as rope } from "./rope/index.tsx";
import { view as router } from "./router/index.tsx";
import type { View } from "./view.ts";
import { view as whatif } from "./whatif/index.tsx";

export const views: View[] = [
  chat, reference, blocks, attention, mask, ledger, embedding, rope, flash, router, loom,
  kv, whatif, compare, parameters, roofline, reasoning, denoise,
];
