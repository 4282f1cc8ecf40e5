/**
 * The block graph: the node table, permissions between the users of nodes, the checks and options
 * that core adds to what a driver does, and the commands on nodes.
 */
package io.blockwharf.core.graph;
