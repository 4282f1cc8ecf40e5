package io.blockwharf.core.qapi;

/**
 * Who uses the services that are the branches of an open union, and so knows which are there.
 * Nobody else keeps such a list: what the arguments of a command were bound to is what its owner
 * finds, as long as the control lock is held.
 */
@FunctionalInterface
public interface OpenUnion {
    /** The branches of this union, and none of others. */
    Branches branches();
}
