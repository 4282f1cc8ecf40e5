/** Nodes that show another node and do something about its requests. */
package io.blockwharf.block.filter;
