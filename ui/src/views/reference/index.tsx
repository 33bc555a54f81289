import { ReferenceView } from "../../reference/index.tsx";
import type { View } from "../view.ts";

export const view: View = {
  id: "reference",
  title: "Reference",
  question: "What do the words mean, and where can I see each?",
  group: "Learn",
  headed: true,
  Component: ReferenceView,
};
