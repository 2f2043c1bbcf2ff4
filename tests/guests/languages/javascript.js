// A signer: one header that says for which attempt it was made, and with which configuration.
import { attempt } from "bascule:plugin/context@0.1.0";
import { get } from "bascule:plugin/config@0.1.0";
import { write } from "bascule:plugin/log@0.1.0";

const octets = (text) => Uint8Array.from(text, (character) => character.charCodeAt(0));

export const signer = {
  sign(head, authority, body) {
    write("info", `signing for ${authority}`, []);
    const value = JSON.stringify({ attempt: attempt(), region: get("region"), path: head.path });
    return { headers: [{ name: "x-javascript", value: { tag: "plain", val: octets(value) } }], query: [] };
  },
};
