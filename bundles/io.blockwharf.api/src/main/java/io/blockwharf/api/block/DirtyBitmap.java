package io.blockwharf.api.block;

import org.osgi.annotation.versioning.ProviderType;

/**
 * A dirty bitmap in use: which parts of a node have been written. What is asked here may be asked
 * by any thread, does not block and allocates nothing; the answer may be a moment old.
 */
@ProviderType
public interface DirtyBitmap extends AutoCloseable {
    /** Its name. */
    String name();

    /** Bytes that one bit stands for; a power of two, at least 512. */
    long granularity();

    /** Whether a byte has been written. Bytes past the end have not. */
    boolean isDirty(long offset);

    /**
     * Where the run of equally dirty bytes ends that contains a byte.
     *
     * @param limit how far the caller is interested; more than {@code offset}
     * @return first byte that is different, at most {@code limit}
     */
    long runEnd(long offset, long limit);

    /** It is not busy any more. Idempotent. */
    @Override
    void close();
}
