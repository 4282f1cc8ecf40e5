/** Contracts of Blockwharf: block nodes, exports and QMP commands. Depends on nothing of ours. */
package io.blockwharf.api;
