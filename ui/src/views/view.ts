/** What a view is to the page around it. */

import type { ComponentType } from "preact";
import type { Kind } from "../data/types.ts";

export interface View {
  id: string;
  title: string;
  /** What it answers, in one short sentence. */
  question: string;
  group: "Talk" | "Look inside" | "Size" | "Learn";
  /** Kinds of mixers it is about; none: any model. */
  kinds?: readonly Kind[];
  /** It writes its own heading. */
  headed?: boolean;
  Component: ComponentType;
}
