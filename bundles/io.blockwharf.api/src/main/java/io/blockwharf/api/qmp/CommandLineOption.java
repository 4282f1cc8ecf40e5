package io.blockwharf.api.qmp;

import org.osgi.service.component.annotations.ComponentPropertyType;

import java.lang.annotation.ElementType;
import java.lang.annotation.Retention;
import java.lang.annotation.RetentionPolicy;
import java.lang.annotation.Target;

/**
 * Makes a {@link QmpCommand} component an option of the command line, whose argument is the
 * command's arguments as {@code key=value,...} or JSON: service properties {@code option.name},
 * {@code option.implied} and {@code option.help}.
 */
@ComponentPropertyType
@Retention(RetentionPolicy.CLASS)
@Target(ElementType.TYPE)
public @interface CommandLineOption {
    /** Prefix of the service properties. */
    String PREFIX_ = "option.";

    /** The option without its dashes, for example {@code blockdev}. */
    String name();

    /** The key that the first word stands for if it has none, or empty. */
    String implied() default "";

    /** A line for {@code --help}: the argument's form and what it does. */
    String help();
}
