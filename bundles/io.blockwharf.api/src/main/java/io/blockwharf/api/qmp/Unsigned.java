package io.blockwharf.api.qmp;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/**
 * An unsigned integer of that many bits: 8, 16, 32 or 64 (the last one limited to {@link
 * Long#MAX_VALUE}).
 */
@Retention(RetentionPolicy.RUNTIME)
@Target({ElementType.RECORD_COMPONENT})
public @interface Unsigned {
    /** The width in bits. */
    int value();
}
