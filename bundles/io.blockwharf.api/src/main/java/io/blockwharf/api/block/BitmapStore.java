package io.blockwharf.api.block;

import org.osgi.annotation.versioning.ConsumerType;

import java.util.List;

/**
 * The dirty bitmaps that an image keeps in itself. Core loads all of them when the image is opened,
 * records writes in them, and stores them before it closes the image; what an image that was opened
 * for writing holds in between is marked as not to be trusted. Called with core's control lock
 * held.
 */
@ConsumerType
public interface BitmapStore {
    /**
     * A bitmap in the image.
     *
     * @param name unique in the image
     * @param granularity bytes that one bit stands for
     * @param enabled whether it records writes
     * @param inconsistent was not stored after the image was written last; its bits mean nothing
     */
    record Stored(String name, long granularity, boolean enabled, boolean inconsistent) {}

    /** Receives what is dirty. */
    @FunctionalInterface
    interface Dirty {
        /** A run of dirty bytes; it may reach past the end of the disk. */
        void run(long offset, long length);
    }

    /**
     * A bitmap to be stored.
     *
     * @param bitmap its bits
     * @param enabled whether it records writes
     */
    record Kept(DirtyBitmap bitmap, boolean enabled) {}

    /** The bitmaps as they were when the image was opened, oldest first. */
    List<Stored> stored();

    /** Tells the dirty runs of a bitmap that is not inconsistent. */
    void load(String name, Dirty dirty) throws BlockIoException;

    /**
     * Whether one more bitmap could be stored.
     *
     * @throws io.blockwharf.api.qmp.QmpException if it could not
     */
    void check(String name, long granularity);

    /**
     * Replaces all bitmaps in the image.
     *
     * @param kept those with bits
     * @param inconsistent the names of those that stay as they are
     */
    void store(List<Kept> kept, List<String> inconsistent) throws BlockIoException;
}
