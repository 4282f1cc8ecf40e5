package io.blockwharf.api.qmp;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/** A QAPI feature flag of a command's class or of a member, for example {@code deprecated}. */
@Retention(RetentionPolicy.RUNTIME)
@Target({ElementType.TYPE, ElementType.RECORD_COMPONENT})
public @interface Feature {
    /** The flags. */
    String[] value();
}
