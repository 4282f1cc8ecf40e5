package io.blockwharf.api.qmp;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/** Names the event whose data a record is, for example {@code BLOCK_EXPORT_DELETED}. */
@Retention(RetentionPolicy.RUNTIME)
@Target({ElementType.TYPE})
public @interface QmpEventName {
    /** The name. */
    String value();
}
