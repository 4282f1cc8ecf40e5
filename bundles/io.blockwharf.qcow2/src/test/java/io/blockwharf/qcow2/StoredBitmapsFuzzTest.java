package io.blockwharf.qcow2;

import com.code_intelligence.jazzer.api.FuzzedDataProvider;
import com.code_intelligence.jazzer.junit.FuzzTest;

import java.nio.ByteBuffer;

/** Anything in the bitmap directory: a sentence, or an image. */
class StoredBitmapsFuzzTest {
    @FuzzTest(maxExecutions = 2000, maxDuration = "20s")
    void fails(FuzzedDataProvider data) throws Exception {
        ByteBuffer image = ByteBuffer.wrap(RichImage.once());
        int extension = image.getInt(100);
        while (image.getInt(extension) != 0x23852875) {
            extension += 8 + (image.getInt(extension + 4) + 7 & -8);
        }
        RichImage.fuzz(data, image.getLong(extension + 24), 64);
    }
}
