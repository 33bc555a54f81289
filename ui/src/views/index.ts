/** All views, in the order in which they are listed. */

import type { View } from "./view.ts";

export const views: View[] = [];
