package io.blockwharf.api.block;

import org.osgi.annotation.versioning.ConsumerType;

/** Takes runs of bytes with the same allocation, one after the other: {@link BlockIo#extents}. */
@FunctionalInterface
@ConsumerType
public interface ExtentSink {
    /**
     * A run that begins where the one before ended, described as in an {@link Extent}. It may be of
     * the same kind as the one before.
     *
     * @return whether the next one is wanted
     */
    boolean run(long length, boolean data, boolean zero, int depth);
}
