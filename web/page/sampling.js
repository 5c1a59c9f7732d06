// How the next word is drawn.

/** The sampler's settings in a form: empty fields are left to the library. */
export function sampling(form) {
  const number = (name) => (form.elements[name].value === "" ? undefined : Number(form.elements[name].value));
  return { temperature: number("temperature"), topK: number("topK"), topP: number("topP"), seed: number("seed") };
}
